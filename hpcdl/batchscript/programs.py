"""What a command starts in the end: behind time and env, srun, a container, an interpreter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hpcdl.batchscript.launchers import (
    CONTAINER_LETTERS,
    CONTAINER_VALUES,
    MPI_VALUES,
    SRUN_LETTERS,
    SRUN_VALUES,
    srun_name,
)
from hpcdl.batchscript.model import Command, Container, Launcher, Program, Word, Wrapper
from hpcdl.batchscript.programnames import CONTAINERS, PYTHON
from hpcdl.batchscript.whereabouts import Trail, joined_trail

MPI = ("mpirun", "mpiexec", "mpiexec.hydra", "orterun")
# Commands that start the one behind them, and those of their options that take a value
_BEFORE: dict[str, tuple[str, ...]] = {
    "time": ("-f", "-o"),
    "exec": ("-a",),
    "nohup": (),
    "env": ("-u", "-C"),
    "nice": ("-n",),
    "ionice": ("-c", "-n"),
    "command": (),
    "builtin": (),
    "stdbuf": ("-i", "-o", "-e"),
    "setsid": (),
    "timeout": ("-k", "-s"),
    "numactl": ("-N", "-m", "-C", "-i", "-p"),
    "taskset": (),
    "catchsegv": (),
    "unbuffer": (),
}
_WITH_ARGUMENT = ("timeout", "taskset")  # a duration or a mask comes before the command
PYTHON_VALUES = ("-W", "-X", "--check-hash-based-pycs")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_MOST_LAYERS = 12


@dataclass
class _Layers:
    """What has been taken off so far."""

    command: Command
    words: list[Word]
    launchers: list[Launcher] = field(default_factory=list)
    wrappers: list[Wrapper] = field(default_factory=list)
    container: Container | None = None
    went: Trail = ()


def program_of(command: Command) -> Program | None:
    """What a command starts; None for a command without words."""
    layers = _Layers(command, list(command.words), went=command.went)
    starter = command.starter
    if starter is not None:
        layers.launchers += starter.launchers
        layers.wrappers += starter.wrappers
        layers.container = starter.container
        layers.went = starter.went if command.is_inside else command.went
    for _ in range(_MOST_LAYERS):
        if not layers.words or not _take_off(layers):
            break
    if not layers.words and not layers.launchers and layers.container is None:
        return None
    program = Program(
        command,
        launchers=tuple(layers.launchers),
        wrappers=tuple(layers.wrappers),
        container=layers.container,
        words=tuple(layers.words),
        args=tuple(layers.words[1:]),
        went=layers.went,
        inside=command.went if command.is_inside else (),
    )
    if layers.words and PYTHON.fullmatch(layers.words[0].base):
        return _python(program)
    return program


def with_starters(before: list[Command], after: list[Command]) -> list[Command]:
    """Commands whose bash -c are those of a list, where these have been replaced.

    Args:
        before: the commands as they were.
        after: the same commands, in their order.
    """
    programs: dict[int, Program | None] = {}
    commands: list[Command] = []
    for old, command in zip(before, after, strict=True):
        new = command
        if old.starter is not None:
            new = replace(new, starter=programs.get(id(old.starter.command), old.starter))
        if old.is_read:
            programs[id(old)] = program_of(new)
        commands.append(new)
    return commands


def _take_off(layers: _Layers) -> bool:
    """Take off one layer; False where the program itself is reached."""
    name, words = layers.words[0].base, layers.words
    if name == "srun":
        options, rest = _options(words[1:], SRUN_VALUES, SRUN_LETTERS)
        named = {srun_name(given): value for given, value in options}
        layers.launchers.append(Launcher("srun", named, layers.command))
        _move(layers, "chdir" in named, named.get("chdir"))
    elif name in MPI:
        options, rest = _options(words[1:], MPI_VALUES, {})
        named = {"ntasks" if k in ("n", "np", "c") else k: v for k, v in options}
        layers.launchers.append(Launcher(name, named, layers.command))
        folder = next((key for key in ("wdir", "wd", "workdir") if key in named), "")
        _move(layers, bool(folder), named.get(folder))
    elif name in CONTAINERS:
        return _take_container(layers)
    elif name in _BEFORE:
        rest = _behind(words, name)
        own = tuple(words[: len(words) - len(rest)])
        layers.wrappers.append(Wrapper(own, layers.container is not None))
        if name == "env" and layers.container is None:
            _move_by_env(layers, words[: len(words) - len(rest)])
    elif words[0].text is None and len(words) > 1 and _starts(words[1].base):
        layers.launchers.append(Launcher("", {}, layers.command))  # $LAUNCHER python x.py
        rest = words[1:]
    else:
        return False
    layers.words = rest
    return True


def _move(layers: _Layers, is_moved: bool, folder: Word | None) -> None:
    """What is behind starts in another folder."""
    if is_moved and layers.container is None:
        layers.went = None if folder is None else joined_trail(layers.went, (folder,))


def _move_by_env(layers: _Layers, words: Sequence[Word]) -> None:
    """env -C FOLDER, env --chdir=FOLDER"""
    for number, word in enumerate(words):
        text = word.raw
        if text in ("-C", "--chdir"):
            _move(layers, True, words[number + 1] if number + 1 < len(words) else None)
        elif text.startswith(("-C", "--chdir=")):
            rest = text.partition("=")[2] if text.startswith("--") else text[2:]
            _move(layers, True, Word(rest, rest) if word.text == text else None)


def _take_container(layers: _Layers) -> bool:
    """apptainer [options] exec [options] IMAGE PROGRAM …"""
    name, words = layers.words[0].base, layers.words[1:]
    while words and (words[0].text or "").startswith("-"):
        words = words[1:]  # of apptainer itself: --quiet, --debug
    own = layers.words[: len(layers.words) - len(words)]
    if len(own) > 1:
        layers.wrappers.append(Wrapper(tuple(own)))
    verb = words[0].text if words else None
    if verb not in ("exec", "run", "shell"):
        return False
    options, rest = _options(words[1:], CONTAINER_VALUES, CONTAINER_LETTERS)
    hides = len(rest) > 1 and _may_be_options(rest[0], rest[1])
    rest = rest[1:] if hides else rest
    image = rest[0] if rest else None
    first = layers.words[0]
    is_named = first.text is not None or "$(" in first.raw or "`" in first.raw
    layers.container = Container(name, verb, tuple(options), image, not hides, is_named)
    layers.words = rest[1:]
    return True


def _may_be_options(word: Word, following: Word) -> bool:
    """Whether a variable stands in front of the image: exec $OPTIONS "$IMAGE" python …"""
    if word.text is not None or not word.raw.startswith("$"):
        return False
    text = following.text
    is_image = text is not None and text.endswith((".sif", ".simg", ".img"))
    return is_image or (text is None and following.raw.startswith(("$", '"$')))


def _options(
    words: Sequence[Word], with_value: frozenset[str], letters: dict[str, str]
) -> tuple[list[tuple[str, Word | None]], list[Word]]:
    """The options in front, by long names without dashes, and the words behind them."""
    found: list[tuple[str, Word | None]] = []
    rest = list(words)
    while rest:
        word = rest[0]
        text = word.text if word.text is not None else _beginning(word)
        if not text.startswith("-") or text in ("-", "--"):
            return found, rest[1:] if text == "--" else rest
        rest.pop(0)
        name, equals, value = text.lstrip("-").partition("=")
        if equals:
            found.append((letters.get(name, name), _value(word, value)))
        elif not text.startswith("--") and name[:1] in letters and len(name) > 1:
            long = letters[name[0]]
            if long in with_value:
                found.append((long, _value(word, name[1:])))
            else:
                found.extend((letters.get(letter, letter), None) for letter in name)
        elif word.text is None and name in letters and word.raw.strip("\"'") != text:
            found.append((letters[name], replace(word, raw=_behind_letter(word.raw))))
        elif letters.get(name, name) in with_value and rest:
            found.append((letters.get(name, name), rest.pop(0)))
        else:
            found.append((letters.get(name, name), None))
    return found, rest


def _beginning(word: Word) -> str:
    """The known beginning of a word such as --bind="$DATA:/data"."""
    raw = word.raw.lstrip("\"'")
    return re.split(r"[\"'$`]", raw)[0] if raw.startswith("-") else ""


def _behind_letter(raw: str) -> str:
    """The value in -c$N and "-B$DATA:/data", in the quotes that are around it."""
    quotes = raw[: len(raw) - len(raw.lstrip("\"'"))]
    return quotes + raw[len(quotes) + 2 :]


def _value(word: Word, text: str) -> Word:
    """The value in a word --name=value."""
    if word.text is not None:
        return replace(word, text=text)
    quotes = word.raw[: len(word.raw) - len(word.raw.lstrip("\"'"))]
    return replace(word, raw=quotes + (word.raw.partition("=")[2] or word.raw))


def _behind(words: list[Word], name: str) -> list[Word]:
    """The command behind time, env, nice and the like."""
    rest = words[1:]
    while rest and (rest[0].text or "").startswith("-"):
        option = rest.pop(0).text
        if option in _BEFORE[name] and rest:
            rest.pop(0)
    if name == "env":
        while rest and _ASSIGNMENT.fullmatch(rest[0].text or rest[0].raw):
            rest.pop(0)
    if name in _WITH_ARGUMENT and rest:
        rest.pop(0)
    return rest


def _python(program: Program) -> Program:
    """python [options] SCRIPT [args], python -m MODULE [args], python -c TEXT, python <<EOF"""
    python, *rest = program.words
    options: list[Word] = []
    while rest and (rest[0].text or "").startswith("-") and rest[0].text != "-":
        word = rest.pop(0)
        if word.text == "-m" and rest:
            return replace(
                program,
                python=python,
                python_options=tuple(options),
                module=rest[0],
                args=tuple(rest[1:]),
            )
        options.append(word)
        if word.text == "-c" or (word.text in PYTHON_VALUES and rest):
            options += [rest.pop(0)] if rest else []
            if word.text == "-c":
                return replace(
                    program, python=python, python_options=tuple(options), args=tuple(rest)
                )
    script = rest[0] if rest and rest[0].text != "-" else None
    return replace(
        program,
        python=python,
        python_options=tuple(options),
        script=script,
        args=tuple(rest[1:]),
    )


def _starts(name: str) -> bool:
    """Whether a name is that of a program that we know to start others, or of Python."""
    return bool(PYTHON.fullmatch(name)) or name in (*CONTAINERS, "srun", *MPI)
