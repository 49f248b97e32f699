"""Which variables of a script the shell behind bash -c gets: through srun, env, a container."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hpcdl.batchscript.model import Container, Launcher, Program, Shell, Word, Wrapper

CLEAN = ("cleanenv", "e", "containall", "C")  # options that keep the node's variables out
_FOR_IMAGES = re.compile(r"(?:SINGULARITY|APPTAINER)ENV_\w+")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_OF_IMAGES = ("PATH", "LD_LIBRARY_PATH")  # which every image has of its own


@dataclass
class Passed:
    """The variables that reach a shell.

    Args:
        values: those that are known.
        hidden: names whose values in the script are not those that the shell sees.
        is_clean: whether nothing of the script reaches it.
        outside: those that every job has.
    """

    values: dict[str, str]
    hidden: set[str]
    outside: dict[str, str]
    is_clean: bool = False

    def through(self, program: Program) -> Passed:
        """The same behind what stands in front of a program."""
        for name, word in program.command.env:
            self._export(name, word.text)
        launchers, wrappers = program.launchers, program.wrappers
        around = program.command.starter
        if around is not None:  # it has come through these already
            launchers = launchers[len(around.launchers) :]
            wrappers = wrappers[len(around.wrappers) :]
        for launcher in launchers:
            self._through_launcher(launcher)
        self._through_wrappers(wrappers, is_inside=False)
        if program.container is not None and not program.command.is_inside:
            self._through_container(program.container)
        self._through_wrappers(wrappers, is_inside=True)
        return self

    def shell(self, *, is_inside: bool, outer: Shell | None) -> Shell:
        """What the shell does not see."""
        return Shell(frozenset(self.hidden), self.is_clean, is_inside, outer)

    def _export(self, name: str, value: str | None) -> None:
        """A variable that is set for the program: the script's own way of it is another one."""
        self.values.pop(name, None)
        if value is not None:
            self.values[name] = value
            self.hidden.discard(name)

    def _set(self, name: str, value: str | None) -> None:
        self._export(name, value)
        self.hidden.add(name)

    def _clear(self) -> None:
        self.values.clear()
        self.outside.clear()
        self.is_clean = True

    def _through_launcher(self, launcher: Launcher) -> None:
        """srun --export=ALL,A=1; without ALL nothing else."""
        word = launcher.options.get("export")
        if "export" not in launcher.options:
            return
        parts = ((word and word.text) or "").split(",")
        if "ALL" not in parts:
            self._clear()
        for name, value in _assignments(parts):
            self._set(name, value)

    def _through_wrappers(self, wrappers: Sequence[Wrapper], *, is_inside: bool) -> None:
        """env -i -u NAME A=1"""
        for wrapper in wrappers:
            if wrapper.name != "env" or wrapper.is_inside != is_inside:
                continue
            before = ""
            for word in wrapper.words[1:]:
                self._through_env(word, before)
                before = word.text or ""

    def _through_env(self, word: Word, before: str) -> None:
        """One word of env's, and that before it."""
        text = word.text or ""
        match = _ASSIGNMENT.fullmatch(word.raw)
        if match and word.text is not None:
            self._set(match[1], text.partition("=")[2])
        elif match:
            self._set(match[1], None)
        elif text in ("-", "-i", "--ignore-environment"):
            self._clear()
        elif before in ("-u", "--unset"):
            self._set(text, None)
        elif text.startswith(("-u", "--unset=")):
            self._set(text.removeprefix("-u").rpartition("=")[2], None)

    def _through_container(self, container: Container) -> None:
        for_images: dict[str, str] = {}
        for name in filter(_FOR_IMAGES.fullmatch, self.values):
            for_images[name.partition("ENV_")[2]] = self.values[name]
        for name in _OF_IMAGES:
            self._set(name, None)
        if container.has("home"):
            self._set("HOME", None)
            self.outside.pop("HOME", None)
        if container.has(*CLEAN, "env-file"):
            home = self.outside.get("HOME")
            self._clear()
            if home:
                self.outside["HOME"] = home
        for name, value in for_images.items():
            self._set(name, value)
        for word in container.values("env"):
            for name, text in _pairs(word):
                self._set(name, text)


def _assignments(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    for text in texts:
        match = _ASSIGNMENT.fullmatch(text)
        if match:
            yield match[1], match[2]


def _pairs(word: Word) -> Iterator[tuple[str, str | None]]:
    """The variables of --env A=1,B=2; of A=1,2 the one."""
    parts = [word.written.strip("\"'")]
    if parts[0].count("=") > 1:
        parts = parts[0].split(",")
    for name, value in _assignments(parts):
        if word.text is None:
            yield name, None
        else:
            yield name, value
