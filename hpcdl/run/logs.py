"""A run's logs: the end of a log, and the lines that show why a run ended."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hpcdl.run.paths import RunPaths
from hpcdl.run.tracebacks import last_traceback

END_BYTES = 65536  # how much of a log's end is read
NOTIFY_PRINTED = "hpcdl: the notify command:"  # its output comes below, at the end of a log
_LINE_CHARACTERS = 200
# What programs, Apptainer and slurmstepd write when something breaks. The last line of a traceback
# begins with its Error.
_TELLING = re.compile(
    r"^error: |^hint: |\w*(Error|Exception|Interrupt)(:|$)|\bFATAL\b|\bKilled\b"
    r"|Bus error|Segmentation fault|[Oo]ut.of.memory|oom.kill|OOM|CUDA_ERROR"
    r"|No space left|Disk quota exceeded|Read-only file system"
    r"|No such file or directory|command not found|DUE TO|srun: error"
    # slurmstepd's lines begin in three ways: 22.05, 24.11 (with the node), 26.05 (with the time)
    r"|slurmstepd(-\S+)?: error|^\[[\d:T.-]+\] error: "
)
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours
_Line = tuple[int, str]


def tail(log: Path) -> str:
    """The last kilobytes of a log, without empty lines; empty if it cannot be read."""
    return "\n".join(text for _, text in _tail(log))


def telling_lines(paths: RunPaths, most: int = 3) -> list[dict[str, Any]]:
    """The lines that show why the last attempt ended; the last lines if none does.

    They are from its log and from the batch script's output.

    Args:
        paths: the run.
        most: how many lines.

    Returns:
        ``file`` (relative to the run folder), ``line`` (its number, from 1) and ``text`` of each.
    """
    outputs = sorted(paths.logs.glob("*.out"), key=lambda path: path.stat().st_mtime)
    logs = [(log, _tail(log)) for log in [*numbered(paths)[-1:], *outputs[-1:]]]
    telling = []
    for log, lines in logs:
        for number, text in _since_traceback(lines):
            if _TELLING.search(text):
                telling.append((log, number, text))
    if not telling:
        telling = _first_log_with_text(logs)
    shown = []
    for log, number, text in telling[-most:]:
        file = str(log.relative_to(paths.root))
        shown.append({"file": file, "line": number, "text": text.strip()[:_LINE_CHARACTERS]})
    return shown


def last_output(paths: RunPaths, most: int = 3) -> list[str]:
    """The last lines that the last attempt printed; of its stdout, if that has its own log.

    Args:
        paths: the run.
        most: how many lines.
    """
    logs = numbered(paths)
    if not logs:
        return []
    log = paths.stdout_log(int(logs[-1].stem))
    if not log.exists():
        log = logs[-1]
    texts = [text.strip()[:_LINE_CHARACTERS] for _, text in _tail(log, numbers=False)]
    if NOTIFY_PRINTED in texts:
        texts = texts[: texts.index(NOTIFY_PRINTED)]
    return texts[-most:]


def numbered(paths: RunPaths) -> list[Path]:
    """The logs of the attempts, in order."""
    logs = [log for log in paths.logs.glob("*.log") if log.stem.isdigit()]
    return sorted(logs, key=lambda log: int(log.stem))


def slurms_words(paths: RunPaths, job_id: str) -> str:
    """The batch script's output since the last attempt started.

    slurmstepd writes there why SLURM ended a job.

    Args:
        paths: the run.
        job_id: SLURM's id of the job.
    """
    text = tail(Path(str(paths.batch_log).replace("%j", job_id)))
    start = 0
    for match in re.finditer(r"^attempt \d+ of ", text, re.MULTILINE):
        start = match.start()
    return text[start:]


def _first_log_with_text(logs: list[tuple[Path, list[_Line]]]) -> list[tuple[Path, int, str]]:
    for log, lines in logs:
        if lines:
            return [(log, number, text) for number, text in lines if not text.startswith("INFO: ")]
    return []


def _since_traceback(lines: list[_Line]) -> list[_Line]:
    """The lines from the last traceback on: the program survived errors before it."""
    traceback = last_traceback("\n".join(text for _, text in lines))
    return lines if traceback is None else lines[traceback.line :]


def _tail(log: Path, numbers: bool = True) -> list[_Line]:
    """The last lines that are not empty, as (number, text).

    Args:
        log: the file.
        numbers: whether the numbers are needed; then all of the file is read.
    """
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, 2)
            blocks_before = max(0, size - END_BYTES) // END_BYTES
            stream.seek(0)
            skipped = 0
            if numbers:
                for _ in range(blocks_before):
                    skipped += stream.read(END_BYTES).count(b"\n")
            stream.seek(blocks_before * END_BYTES)
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), skipped + 1):
        # A progress bar draws over its own line: only the last text of it counts.
        last = _ESCAPE.sub("", line.rstrip("\r").rpartition("\r")[2]).rstrip()
        if last:
            lines.append((number, last))
    return lines
