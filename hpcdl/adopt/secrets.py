"""Secrets that stand in a script's commands: they are hidden, and no job file gets them."""

from __future__ import annotations

import re

_HIDDEN = "(hidden)"
# A value as a shell has it: in quotes, or to the next blank; sbatch's --export has commas between
_VALUE = r"(?:\"[^\"]*\"?|'[^']*'?|(?:\\.|(?!,\w+=)[^\s\"'\\;&|])+)"
_LITERAL = r"(?='[^'\s]|\"?[^\s$`'\"])"  # and no variable's value
_KEYS = r"(?<![a-z0-9])(?:token|(?:api|access|private)[-_]?key)|api_?key"
# Names, and what their values look like where these are secrets, and not numbers or paths
_KINDS = (
    (r"(?:password|passwd|passphrase|secret(?:[-_]?access)?(?:[-_]?key)?)", _LITERAL),
    (rf"(?:{_KEYS})", r"(?=[\"']?(?=\S{0,99}\d)[\w.-]{12})"),
    (
        r"(?<![a-z0-9])key",
        r"(?=[\"']?(?=\S{0,99}\d)(?=\S{0,99}[a-z])\w[\w.+=-]{0,99}?[a-z0-9]{16})",
    ),
)
# --hf-token VALUE, --hf-token=VALUE, HF_TOKEN=VALUE
_PLACE = r"((?<![\w-])(?:-[\w-]*{0}[ \t]+(?!-)(?=\S{{4}})|[\w-]*{0}=))"
_PATTERNS = [
    *(re.compile(_PLACE.format(name) + value + _VALUE, re.I) for name, value in _KINDS),
    # A variable of the surroundings: shorter values, too
    re.compile(
        r"(\b(?=[A-Z])[A-Z0-9_]*(?:TOKEN|API_?KEY|ACCESS_KEY)=)(?![\"']?[\d~/.<])"
        rf"{_LITERAL}{_VALUE}"
    ),
    re.compile(r"(\bwandb login (?:--\S+ )*)[\w-]{12,}", re.I),
    re.compile(r"(\bhttps://hooks\.slack\.com/)[^\s\"']+"),
    # https://user:TOKEN@host, https://TOKEN@host; no docker://image:tag@sha256:…
    re.compile(
        r"(\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@\"']*:)(?!\$)[^\s/@\"']+(?=@(?!sha256:))", re.I
    ),
    re.compile(r"(\bhttps?://)(?!\$)[^\s/:@\"']{16,}(?=@)", re.I),
]
_NAME = re.compile(r"(?:.*_)?(?:TOKEN|PASSWORD|PASSWD|SECRET|API_?KEY|ACCESS_KEY|SECRET_KEY)")


def hidden(text: str) -> str:
    """A text of the script without what looks like a secret in it."""
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\1{_HIDDEN}", text)
    return text


def is_secret(name: str, value: str | None) -> bool:
    """Whether a variable looks like a secret, by its name or by its value, if that is known."""
    pair = f"{name}={(value or '').replace(' ', '_')}"
    return bool(_NAME.fullmatch(name.upper())) or hidden(pair) != pair


def without_secrets(args: list[str]) -> tuple[list[str], list[str]]:
    """Arguments without those that look like secrets, and the options of these."""
    harmless: list[str] = []
    options: list[str] = []
    waiting = list(args)
    while waiting:
        word = waiting.pop(0)
        following = "".join(waiting[:1]).replace(" ", "_")
        pair = f"{word} {following}"
        if hidden(word) != word:
            options.append(hidden(word))
        elif "=" not in word and hidden(pair) != pair:
            options.append(f"{word} {_HIDDEN}")
            waiting.pop(0)
        else:
            harmless.append(word)
    return harmless, options
