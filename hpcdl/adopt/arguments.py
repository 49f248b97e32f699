"""The program's arguments: their texts, and those that only the running script knows."""

from __future__ import annotations

import re

from hpcdl.adopt.draft import Draft
from hpcdl.adopt.secrets import without_secrets
from hpcdl.adopt.values import Values
from hpcdl.batchscript.model import Command, Program, Word

_ALL = ('"$@"', "$@", "$*", '"${@}"', "${@}")
_NUMBERED = re.compile(r'"?\$(?:\{(\d+)\}|(\d))"?')
_AT_RUN_TIME = "only the running script knows this"
_OF_SBATCH = "only sbatch knows this: what stands behind the script's name when it is called"
_FIX = "add it to args, with a value of your own"


def add_args(draft: Draft, program: Program, values: Values) -> None:
    """Write the arguments. One that is not known goes, with its option.

    Args:
        draft: the job file.
        program: the program.
        values: of the script's words.
    """
    own = program.command.line
    args: list[str] = []
    for word, line in _passed(draft, program):
        words = values.words(word, line)
        if words is not None:
            args += words
            continue
        raw, is_list = word.raw, word.raw in _ALL
        if not is_list and args and args[-1].startswith("-") and "=" not in args[-1]:
            raw = f"{args.pop()} {raw}"
        is_of_sbatch = not program.command.function and word.shell is None
        is_of_sbatch = is_of_sbatch and (is_list or bool(_NUMBERED.fullmatch(word.raw)))
        draft.leave(own, raw, _OF_SBATCH if is_of_sbatch else _AT_RUN_TIME, _FIX)
    args, secrets = without_secrets(args)
    for text in secrets:
        why = "it looks like a secret, and a job file is copied into the folder of each run"
        draft.leave(own, text, why, "let the program read it from a file of yours")
    if args:
        draft.put("args", args, own)


def _passed(draft: Draft, program: Program) -> list[tuple[Word, int]]:
    """The arguments with their lines; for a function's own, those of its one call."""
    function, line = program.command.function, program.command.line
    own = [(word, line) for word in program.args]
    calls = draft.script.commands_named(function) if function else ()
    if len(calls) != 1 or calls[0].function:
        return own
    left = _shifted(draft, program, list(calls[0].words[1:]))
    if left is None:
        return own
    given = [(word, calls[0].line) for word in left]
    passed: list[tuple[Word, int]] = []
    for word, at in own:
        if word.shell is not None:
            passed.append((word, at))
            continue
        match = _NUMBERED.fullmatch(word.raw)
        number = int(match[1] or match[2]) if match is not None else 0
        if word.raw in _ALL:
            passed += given
        elif 0 < number <= len(given):
            passed.append(given[number - 1])
        else:
            passed.append((word, at))
    return passed


def _shifted(draft: Draft, program: Program, given: list[Word]) -> list[Word] | None:
    """What shift leaves of a function's arguments when it comes to its program.

    None where only the running script knows that.
    """
    for command in draft.script.commands:
        if any(command is own for own in (program.command, *program.starters)):
            break
        is_own = command.function == program.command.function and command.starter is None
        if not is_own or command.substituted:
            continue
        if command.name == "set" and _sets_arguments(command):
            return None
        if command.name != "shift":
            continue
        number = command.words[1].text or "" if command.words[1:] else "1"
        if command.conditional or command.in_loop or not number.isdecimal():
            return None
        count = int(number)
        if any(map(_may_be_several, given[:count])):
            return None
        if count <= len(given):  # it does nothing otherwise
            given = given[count:]
    return given


def _may_be_several(word: Word) -> bool:
    """Whether a word that is not known may be several arguments, or none."""
    is_quoted = word.raw.startswith('"') and word.raw.endswith('"') and word.raw not in _ALL
    return word.text is None and not is_quoted


def _sets_arguments(command: Command) -> bool:
    """Whether set gives other arguments: set -- A, set A."""
    for number, word in enumerate(command.words[1:]):
        text = word.text or ""
        if text == "--" or (number == 0 and not text.startswith(("-", "+"))):
            return True
    return False
