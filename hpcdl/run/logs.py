"""A run's logs: the end of one, and the lines that show why a run ended."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hpcdl.run.paths import RunPaths

_TAIL_BYTES = 65536
_LINE_CHARACTERS = 200
# What programs, Apptainer and slurmstepd write when something breaks; a traceback's last line begins with its Error.
_TELLING = re.compile(
    r"^error: |^hint: |\w*(Error|Exception|Interrupt)(:|$)|\bFATAL\b|\bKilled\b|Bus error|Segmentation fault"
    r"|[Oo]ut.of.memory|oom.kill|OOM|CUDA_ERROR|No space left|Disk quota exceeded|Read-only file system"
    r"|No such file or directory|command not found|DUE TO|slurmstepd: error|srun: error"
)


def tail(log: Path) -> str:
    """The last kilobytes of a log, without empty lines; nothing where it cannot be read."""
    return "\n".join(text for _, text in _tail(log))


def telling_lines(paths: RunPaths, most: int = 3) -> list[dict[str, Any]]:
    """The lines that show why the last attempt ended, of its log and of the batch script's output; else the last ones.

    Returns:
        ``file`` (relative to the run folder), ``line`` (its number, from 1) and ``text`` of each, in order.
    """
    outputs = sorted(paths.logs.glob("*.out"), key=lambda path: path.stat().st_mtime)
    read = [(log, _tail(log)) for log in [*numbered(paths)[-1:], *outputs[-1:]]]
    told = [(log, n, text) for log, lines in read for n, text in lines if _TELLING.search(text)]
    if not told:
        said = next((part for part in read if part[1]), None)
        told = [(said[0], n, text) for n, text in said[1] if not text.startswith("INFO: ")] if said else []
    return [
        {"file": str(log.relative_to(paths.root)), "line": n, "text": text[:_LINE_CHARACTERS]}
        for log, n, text in told[-most:]
    ]


def numbered(paths: RunPaths) -> list[Path]:
    """The logs of the attempts, in order."""
    return sorted((p for p in paths.logs.glob("*.log") if p.stem.isdigit()), key=lambda p: int(p.stem))


def slurms_words(paths: RunPaths, job_id: str) -> str:
    """What the batch script's output says since the last attempt began: slurmstepd tells there why it ended a job."""
    text = tail(Path(str(paths.batch_log).replace("%j", job_id)))
    begins = [match.start() for match in re.finditer(r"^attempt \d+ of ", text, re.MULTILINE)]
    return text[begins[-1] :] if begins else text


def _tail(log: Path) -> list[tuple[int, str]]:
    """The last lines that say something: (number, text)."""
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            skipped = 0
            for _ in range(max(0, size - _TAIL_BYTES) // _TAIL_BYTES):
                skipped += stream.read(_TAIL_BYTES).count(b"\n")
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return []
    numbers = enumerate(text.replace("\r\n", "\n").split("\n"), skipped + 1)
    # A progress bar draws over its own line: what it said last is the line.
    lines = ((n, line.rstrip("\r").rpartition("\r")[2].strip()) for n, line in numbers)
    return [(n, line) for n, line in lines if line]
