"""What an adopted batch script consists of: a job file's document, and what it does not carry."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from hpcdl.adopt.written import unbroken
from hpcdl.batchscript.model import BatchScript
from hpcdl.text import cut, one_line
from hpcdl.yamlfile.reader import Located

_BREAK = re.compile(r"\s*\n\s*")


@dataclass(frozen=True)
class Left:
    """Something of the script that the job file does not carry.

    Args:
        line: of the script.
        text: what stands there.
        why: why it is not carried.
        fix: what to do.
    """

    line: int
    text: str
    why: str
    fix: str = ""

    def __str__(self) -> str:
        sentence = "; ".join(part for part in (self.why, self.fix) if part)
        text = _BREAK.sub("; ", unbroken(self.text))
        return one_line(f"line {self.line}: {cut(text)}: {sentence}")


@dataclass(frozen=True)
class Adopted:
    """The job file that does the same as a batch script.

    Args:
        script: the batch script.
        document: the job file; the place of each value is the script's line.
        folder: from where sbatch is called: relative paths of the script start there.
        left: what is not carried.
        obstacles: why no job file does the same; none where one does.
        notes: what a reader of the job file has to know besides.
    """

    script: BatchScript
    document: Located
    folder: Path
    left: list[Left] = field(default_factory=list)
    obstacles: list[Left] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def runtime(self) -> str | None:
        """The container command of the script's program; None where it has no container."""
        for program in self.script.programs:
            if program.container is not None and program.container.is_named:
                return program.container.name
        return None
