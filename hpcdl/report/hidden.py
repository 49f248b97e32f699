"""Hides what a page for others must not show: values of env, and what looks like a secret.

The run folder itself keeps all values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

HIDDEN = "(hidden)"

_SECRET_WORDS = frozenset(
    {"secret", "password", "passwd", "passphrase", "pwd", "pass", "token", "apikey", "auth"}
) | frozenset({"bearer", "credential", "credentials", "cookie", "pat"})
_KEYS = frozenset({"api", "access", "private", "auth", "ssh", "license", "encryption", "account"})
_PRIVATE = frozenset({("slurm", "comment"), ("slurm", "mail-user"), ("slurm", "mail_user")})
# https://user:password@host, also in the middle of a text
_URL_PASSWORD = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@'\"]*):[^\s/@'\"]+@", re.IGNORECASE)
# https://token@host: a user's name is shorter
_URL_TOKEN = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/:@'\"]{16,}@", re.IGNORECASE)
_URL_QUERY = re.compile(
    r"([?&][\w.-]*(?:token|key|sig|signature|secret|password|passwd|auth|credential)=)[^&\s'\"]+",
    re.IGNORECASE,
)
# What a shell takes as one word
_SHELL_WORD = r"(?:'[^']*'|\"(?:\\.|[^\"\\])*\"|\\.|[^\s'\"\\])+"
# Tokens whose first letters name their service: GitHub, GitLab, Hugging Face, OpenAI, AWS, Slack
_TOKEN = re.compile(
    r"\b(gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_\w{16,}|sk-[\w-]{20,}"
    r"|AKIA[A-Z0-9]{12,}|xox[abprs]-[\w-]{10,})"
)
_FEWEST_CHARACTERS = 4  # of a value that is searched for in texts: shorter ones are everywhere


def is_secret(name: str) -> bool:
    """Whether a name looks like that of a secret: API_KEY, --hf-token, wandbApiKey."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    words = re.findall(r"[a-z0-9]+", spaced.lower())
    if not words:
        return False
    if "secret" in words or words[-1] in _SECRET_WORDS:
        return True
    return words[-1] == "key" and bool(_KEYS & set(words[:-1]))


def job(settings: dict[str, Any]) -> dict[str, Any]:
    """A job as it was resolved, with what is private hidden."""
    shown: dict[str, Any] = _value((), settings)
    return shown


def setting(key: str, value: Any) -> Any:
    """The value of one dotted key of a job, hidden where it is private."""
    return _value(tuple(key.split(".")), value)


def words(argv: Sequence[Any]) -> list[str]:
    """A command line or a script's arguments, with values of private options hidden."""
    shown: list[str] = []
    hides_next = False
    for item in map(str, argv):
        if hides_next and not item.startswith("-"):
            shown.append(HIDDEN)
            hides_next = False
            continue
        option, equals, value = item.partition("=")
        hides_next = item.startswith("-") and not equals and is_secret(item)
        if option in ("--set", "-s") and equals:
            shown.append(f"{option}={_assignment(value)}")
        elif item.startswith("-senv."):
            shown.append(f"-s{_assignment(item[2:])}")
        else:
            shown.append(_assignment(item))
    return shown


def text(shown: str, settings: dict[str, Any]) -> str:
    """A file or a log, with passwords in URLs, tokens and the job's own secrets hidden.

    Args:
        shown: the text.
        settings: the job as it was resolved, whose secrets may be in the text.
    """
    shown = _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", shown)
    shown = _URL_TOKEN.sub(rf"\1{HIDDEN}@", shown)
    shown = _URL_QUERY.sub(rf"\1{HIDDEN}", shown)
    shown = _TOKEN.sub(HIDDEN, shown)
    env = settings.get("env")
    if isinstance(env, dict):
        for name in env:
            assignment = rf"\b({re.escape(str(name))}=){_SHELL_WORD}"
            shown = re.sub(assignment, rf"\1{HIDDEN}", shown)
    for secret in sorted(_secrets(settings), key=len, reverse=True):
        shown = shown.replace(secret, HIDDEN)
    return shown


def batch_script(shown: str, settings: dict[str, Any]) -> str:
    """A batch script, hidden as in `text`, and without the values of private #SBATCH lines."""
    lines = []
    for line in text(shown, settings).splitlines():
        match = re.match(r"#SBATCH --(comment|mail-user)\b", line)
        lines.append(f"{match.group(0)}={HIDDEN}" if match else line)
    return "\n".join(lines) + "\n"


def _value(keys: tuple[str, ...], value: Any) -> Any:
    """A value below some keys of a job; everything below ``env`` is hidden."""
    if value is None:
        return None
    if isinstance(value, dict):
        shown = {}
        for key, inner in value.items():
            shown[key] = _value((*keys, str(key)), inner)
        return shown
    is_private = len(keys) > 1 and (keys[0] == "env" or is_secret(keys[-1]))
    if is_private or keys in _PRIVATE:
        return HIDDEN
    if isinstance(value, list) and keys == ("args",):
        return words(value)
    if isinstance(value, list):
        return [_value((*keys, ""), inner) for inner in value]
    return text(value, {}) if isinstance(value, str) else value


def _assignment(word: str) -> str:
    """A word of a command line; of NAME=VALUE the value is hidden where NAME is private."""
    name, equals, value = word.partition("=")
    if not equals or "://" in name:
        return text(word, {})
    keys = tuple(name.split("."))
    is_private = name == "env" or name.startswith("env.") or keys in _PRIVATE or is_secret(name)
    if is_private:
        return f"{name}={HIDDEN}"
    if name == "args":  # --set args=[--token=x]: a list in one word
        inside = re.findall(r"[\w-]+", value)
        return f"{name}={HIDDEN}" if any(map(is_secret, inside)) else word
    return text(word, {})


def _secrets(settings: dict[str, Any]) -> set[str]:
    """The values of a job that are secrets by their names or in its arguments."""
    pairs: list[tuple[str, Any]] = list(_leaves("", settings))
    args = settings.get("args")
    if isinstance(args, list):
        pairs += _options(list(map(str, args)))
    secrets = set()
    for name, value in pairs:
        if is_secret(name) and len(str(value)) >= _FEWEST_CHARACTERS:
            secrets.add(str(value))
    return secrets


def _leaves(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(str(key), inner)
    elif isinstance(value, str):
        yield name, value


def _options(argv: Sequence[str]) -> list[tuple[str, str]]:
    """The options of a command line with their values: --name=value, and --name value."""
    pairs = []
    for item, following in zip(argv, [*argv[1:], ""], strict=True):
        name, equals, value = item.partition("=")
        pairs.append((name, value if equals else following))
    return pairs
