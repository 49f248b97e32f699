"""What a word of the script is, for a job file: a text, a path, or nothing that is known before.

Beside what the script itself says, a job file may use what its #SBATCH lines decide (such as
SLURM_CPUS_PER_TASK) and the variables of the shell that sends it, as sbatch hands them on.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hpcdl.batchscript.model import Assignment, Shell, Word
from hpcdl.batchscript.words import LONGEST, has_braces

_NAME = re.compile(r"\$(?:\{(\w+)\}|(\d|[^\W\d]\w*))")
_OF_THE_NODE = re.compile(
    r"SLURM\w*|TMPDIR|TMP|LOCALSCRATCH|(CUDA|ROCR)_VISIBLE_DEVICES|HOSTNAME|[0-9]+"
    r"|PWD|OLDPWD|S?RANDOM|SECONDS|LINENO|PPID|SHLVL|EPOCH\w*|BASH\w*"  # bash sets these itself
)
_SPECIAL = frozenset("`*?[<>|&;()")
_MOST_STEPS = 20  # of variables that name variables
_MOST_READ = 1000  # values that one word is made of


@dataclass(frozen=True)
class _Place:
    """Where a word is read: its line, how many assignments have run, and what stays."""

    line: int
    run_before: int
    keep: bool  # whether the shell's variables stay as they are written
    shell: Shell | None = None  # of bash -c, in whose text it stands


@dataclass
class Values:
    """The values of a script's variables, where a word stands.

    Args:
        assignments: the script's, those that the program sees, in the order in which they run.
        known: variables that the #SBATCH lines decide.
        program_lines: where the program and what is in front of it start: all of them have run.
        folders: the shell's working directory at lines that name it; None where it is unknown.
        environ: the shell's variables.
        used: the names of those that were used.
        unset: the names of those that paths have and that are set nowhere.
    """

    assignments: Sequence[Assignment]
    known: dict[str, str]
    program_lines: frozenset[int] = frozenset()
    folders: dict[int, str | None] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    used: set[str] = field(default_factory=set)
    unset: set[str] = field(default_factory=set)
    _by_name: dict[str, list[int]] = field(default_factory=dict)  # places in assignments
    _by_word: dict[int, int] = field(default_factory=dict)
    _read_now: int = 0

    def __post_init__(self) -> None:
        for number, assignment in enumerate(self.assignments):
            self._by_name.setdefault(assignment.name, []).append(number)
            self._by_word.setdefault(id(assignment.word), number)  # export says it again

    def text(self, word: Word | None, line: int) -> str | None:
        """The text of a word; None without a word, and where only the running script knows it."""
        if word is None:
            return None
        if word.text is not None:
            return word.text
        return self._of_word(word, line, keep=False)

    def path(self, word: Word, line: int) -> str | None:
        """The same of a path, in which the shell's variables stay, as ``$SCRATCH``."""
        if word.text is not None:
            return word.text
        return self._of_word(word, line, keep=True)

    def read(self, word: Word, line: int, _: object = None) -> str | None:
        """The same, for who has the folder of a word's shell, too: it is known by the line."""
        return self.path(word, line)

    def words(self, word: Word, line: int) -> list[str] | None:
        """The arguments that a word becomes: without quotes, a variable's value is split."""
        text = self.text(word, line)
        if text is None:
            return None
        if "$" in word.raw and not set("'\"") & set(word.raw):
            return text.split()
        return [text]

    def _of_word(self, word: Word, line: int, keep: bool) -> str | None:
        self._read_now = 0
        if has_braces(word.raw):
            return None  # bash makes several words of it
        place = _Place(line, self._run_before(word, line), keep, word.shell)
        return self._read(word.raw, place)

    def _run_before(self, word: Word, line: int) -> int:
        """How many of the assignments have run when a word is read."""
        number = self._by_word.get(id(word))
        if number is not None:
            return number
        if line in self.program_lines:
            return len(self.assignments)
        for number, assignment in enumerate(self.assignments):
            if assignment.line > line:
                return number
        return len(self.assignments)

    def _read(self, raw: str, place_of_word: _Place, steps: int = 0) -> str | None:
        """The text of a word as bash reads it."""
        self._read_now += 1
        if steps > _MOST_STEPS or self._read_now > _MOST_READ:
            return None
        if "'" not in raw:
            raw = raw.replace("$(pwd)", "$PWD").replace("`pwd`", "$PWD")
        parts: list[str] = []
        quote, place = "", 0
        while place < len(raw):
            letter = raw[place]
            match = _NAME.match(raw, place)
            if quote != "'" and letter == "$":
                value = self._value(match, place_of_word, steps)
                if match is None or value is None:
                    return None
                parts.append(value)
                place = match.end()
                continue
            if letter in "'\"" and quote in ("", letter):
                quote = "" if quote else letter
            elif letter == "\\" and quote != "'":
                place += 1
                parts.append(_escaped(raw[place : place + 1], quote))
            elif letter == "~" and place == 0 and raw[1:2] in ("", "/"):
                parts.append("~" if place_of_word.keep else self._home())
            elif (not quote and letter in _SPECIAL) or (quote == '"' and letter == "`"):
                return None
            else:
                parts.append(letter)
            place += 1
        text = "".join(parts)
        return text if len(text) <= LONGEST else None

    def _home(self) -> str:
        self.used.add("HOME")
        return os.path.expanduser("~")

    def _value(self, match: re.Match[str] | None, place: _Place, steps: int) -> str | None:
        """The value of a variable; its own name where it stays."""
        if match is None:
            return None
        name = match[1] or match[2]
        shells = _shells(place.shell, name)
        number = self._assigned(name, place.run_before, shells)
        if number is not None:
            assignment = self.assignments[number]
            if assignment.conditional:
                return None
            if assignment.word.text is not None:
                return assignment.word.text
            before, shell = self._by_word[id(assignment.word)], assignment.word.shell
            there = _Place(assignment.line, before, place.keep, shell)
            return self._read(assignment.word.raw, there, steps + 1)
        if shells[-1] is not None or (name == "PWD" and _is_inside(place.shell)):
            return None
        if name == "PWD" and place.line in self.folders:
            return self._folder(self.folders[place.line], place.keep)
        if name in self.known:
            return self.known[name]
        return None if _OF_THE_NODE.fullmatch(name) else self._of_shell(name, place.keep)

    def _folder(self, folder: str | None, keep: bool) -> str | None:
        """A folder, which may begin at a variable or at the home."""
        if folder is None or keep or not folder.startswith(("$", "~")):
            return folder
        if folder.startswith("~"):
            return f"{self._home()}{folder[1:]}"
        match = _NAME.match(folder)
        start = self._of_shell(match[1] or match[2], keep) if match is not None else None
        if match is None or start is None or "$" in folder[match.end() :]:
            return None
        return f"{start}{folder[match.end() :]}"

    def _of_shell(self, name: str, keep: bool) -> str | None:
        """The value of a variable that the script does not set; its own name where it stays."""
        if keep:
            if not self.environ.get(name):
                self.unset.add(name)
            return f"${name}"
        if self.environ.get(name):
            self.used.add(name)
            return self.environ[name]
        return None

    def _assigned(self, name: str, run_before: int, shells: list[Shell | None]) -> int | None:
        """The place of the last assignment to a variable, among those that have run there."""
        places = self._by_name.get(name, [])
        for place in reversed(places[: bisect_left(places, run_before)]):
            if any(self.assignments[place].word.shell is shell for shell in shells):
                return place
        return None


def _shells(shell: Shell | None, name: str) -> list[Shell | None]:
    """The shells whose variable of that name is seen: None is the script's."""
    shells = [shell]
    while shell is not None and not shell.hides(name):
        shell = shell.outer
        shells.append(shell)
    return shells


def _is_inside(shell: Shell | None) -> bool:
    return shell is not None and shell.is_inside


def _escaped(letter: str, quote: str) -> str:
    """What a backslash and a letter are; in quotes, most letters keep the backslash."""
    if letter == "\n":
        return ""
    if quote and letter not in '$`"\\':
        return f"\\{letter}"
    return letter
