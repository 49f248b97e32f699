"""What a word of the script is, for a job file: a text, a path, or nothing that is known before.

Beside what the script itself says, a job file may use what its #SBATCH lines decide (such as
SLURM_CPUS_PER_TASK) and the variables of the shell that sends it, as sbatch hands them on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from hpcdl.batchscript.model import Assignment, BatchScript, Word

_NAME = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_OF_THE_NODE = re.compile(r"SLURM\w*|TMPDIR|TMP|LOCALSCRATCH|(CUDA|ROCR)_VISIBLE_DEVICES|[0-9]+")
_SPECIAL = frozenset("`*?[<>|&;()")
_MOST_STEPS = 20  # of variables that name variables


@dataclass
class Values:
    """The values of a script's variables, by line.

    Args:
        script: the batch script.
        known: variables that the #SBATCH lines decide.
        environ: the shell's variables.
        used: the names of those that were used.
        unset: the names of those that paths have and that are set nowhere.
    """

    script: BatchScript
    known: dict[str, str]
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    used: set[str] = field(default_factory=set)
    unset: set[str] = field(default_factory=set)

    def text(self, word: Word, line: int) -> str | None:
        """The text of a word; None where only the running script knows it."""
        if word.text is not None:
            return word.text
        return self._read(word.raw, line, keep=False)

    def path(self, word: Word, line: int) -> str | None:
        """The same of a path, in which the shell's variables stay, as ``$SCRATCH``."""
        if word.text is not None:
            return word.text
        return self._read(word.raw, line, keep=True)

    def words(self, word: Word, line: int) -> list[str] | None:
        """The arguments that a word becomes: without quotes, a variable's value is split."""
        text = self.text(word, line)
        if text is None:
            return None
        if "$" in word.raw and not set("'\"") & set(word.raw):
            return text.split()
        return [text]

    def _read(self, raw: str, line: int, keep: bool, steps: int = 0) -> str | None:
        """The text of a word as bash reads it."""
        if steps > _MOST_STEPS:
            return None
        parts: list[str] = []
        quote, place = "", 0
        while place < len(raw):
            letter = raw[place]
            match = _NAME.match(raw, place)
            if quote != "'" and letter == "$":
                value = self._value(match, line, keep, steps)
                if match is None or value is None:
                    return None
                parts.append(value)
                place = match.end()
                continue
            if letter in "'\"" and quote in ("", letter):
                quote = "" if quote else letter
            elif letter == "\\" and quote != "'":
                place += 1
                parts.append(raw[place : place + 1])
            elif letter == "~" and place == 0 and raw[1:2] in ("", "/"):
                parts.append("~" if keep else self._home())
            elif (not quote and letter in _SPECIAL) or (quote == '"' and letter == "`"):
                return None
            else:
                parts.append(letter)
            place += 1
        return "".join(parts)

    def _home(self) -> str:
        self.used.add("HOME")
        return os.path.expanduser("~")

    def _value(self, match: re.Match[str] | None, line: int, keep: bool, steps: int) -> str | None:
        """The value of a variable; its own name where it stays."""
        if match is None:
            return None
        name = match[1] or match[2]
        assignment = self._assigned(name, line)
        if assignment is not None:
            if assignment.conditional:
                return None
            if assignment.word.text is not None:
                return assignment.word.text
            return self._read(assignment.word.raw, assignment.line, keep, steps + 1)
        if name in self.known:
            return self.known[name]
        if _OF_THE_NODE.fullmatch(name):
            return None
        if keep:
            if not self.environ.get(name):
                self.unset.add(name)
            return f"${name}"
        if self.environ.get(name):
            self.used.add(name)
            return self.environ[name]
        return None

    def _assigned(self, name: str, line: int) -> Assignment | None:
        """The last assignment to a variable above a line."""
        last = None
        for assignment in self.script.assignments:
            if assignment.name == name and assignment.line < line:
                last = assignment
        return last
