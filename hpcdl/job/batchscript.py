"""Reads somebody's own batch script as far as needed to say it as a job file."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from hpcdl.job.names import job_name
from hpcdl.job.sections import format_time
from hpcdl.text import hpcdl_command

_OPTION = re.compile(r"(?:--(?P<name>[\w-]+)|-(?P<letter>[A-Za-z]))=?(?P<value>.*)")
_PYTHON = re.compile(
    r"(?:^|\s)(?:\S*/)?python[\d.]*\s+(?:-\w\s+)*"
    r"[\"']?(?P<script>[^\s\"'<>|&;]+\.py)\b[\"']?(?P<rest>[^\n]*)"
)
_SHORT = {
    "t": "time",
    "J": "job-name",
    "G": "gpus",
    "c": "cpus-per-task",
    "A": "account",
    "p": "partition",
    "q": "qos",
}
_SAID = ("job-name", "time", "gres", "gpus", "gpus-per-node", "gpus-per-task")
_HPCDLS = (
    "output",
    "error",
    "o",
    "e",
    "nodes",
    "N",
    "ntasks",
    "n",
    "ntasks-per-node",
)  # hpcdl decides these


def advice(path: Path, text: str, shown: str) -> str:
    """What to do with a batch script: send it as it is, or the job that says the same, to copy.

    Args:
        path: the script.
        text: what is in it.
        shown: how the user calls it.
    """
    said = directives(text)
    script, args = program(text)
    gpus, seconds = _gpus(said), slurm_seconds(said.get("time", ""))
    name = job_name(said.get("job-name") or path.stem)
    resources = [f"gpus: {gpus}"] if gpus is not None else []
    size = f" --gpus {gpus}" if gpus is not None else ""
    if seconds:
        resources.append(f'time: "{format_time(seconds)}"')
        size += f" --time {format_time(seconds)}"
    place = os.path.join(os.path.dirname(shown), script)
    after = f" -- {shlex.join(args)}" if args else ""
    lines = [
        f"{shown} is a batch script, which sbatch takes as it is: sbatch {shlex.quote(shown)}",
        f"what would go wrong in it: {hpcdl_command('check', shown)}; "
        f"as a job file: {hpcdl_command('adopt', shown, '-o', f'{name}.yaml')}",
        "hpcdl writes the batch script itself. With hpcdl, the same job is",
        f"  hpcdl submit {shlex.quote(place)}{size}{after}",
        f"or, kept in a job file {os.path.join(os.path.dirname(shown), name)}.yaml:",
        f"  name: {name}",
    ]
    if resources:
        lines.append(f"  resources: {{{', '.join(resources)}}}")
    lines.append(f"  script: {script}")
    if args:
        lines.append(f"  args: [{', '.join(_quoted(word) for word in args)}]")
    others = [name for name in said if name not in (*_SAID, *_HPCDLS)]
    if others:
        lines.append(
            f"# not taken over: {', '.join(others)}; docs/day-to-day.md says where each belongs"
        )
    return "\n".join(lines)


def directives(text: str) -> dict[str, str]:
    """The #SBATCH options of a batch script, by their long names: those above the first command."""
    options: dict[str, str] = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        if re.match(r"#SBATCH\s", line):
            options.update(_options(line.removeprefix("#SBATCH")))
    return options


def _options(line: str) -> dict[str, str]:
    """The options of one line, which may hold several."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        words = line.split()
    options: dict[str, str] = {}
    name = ""
    for word in words:
        match = _OPTION.fullmatch(word)
        if match:
            name = match["name"] or _SHORT.get(match["letter"], match["letter"])
            options[name] = match["value"]
        elif name:
            options[name] = options[name] or word
    return options


def program(text: str) -> tuple[str, list[str]]:
    """The Python script that a batch script runs, and its arguments, if the shell changes none."""
    code = text.replace("\\\n", " ")
    lines = [line for line in code.splitlines() if not line.lstrip().startswith("#")]
    match = _PYTHON.search("\n".join(lines))
    if match is None:
        return "SCRIPT.py", []
    rest = re.split(r"[<>|&;#]", match["rest"])[0]
    try:
        args = [] if re.search(r"[$`*?]", rest) else shlex.split(rest)
    except ValueError:
        args = []
    script = match["script"]
    return os.path.basename(script) if "$" in script else script, args


def slurm_seconds(text: str) -> int | None:
    """The seconds of a time limit in any of sbatch's forms.

    Source: https://slurm.schedmd.com/sbatch.html#OPT_time
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        return None
    days, *numbers = match.groups()
    parts = [int(number) for number in numbers if number is not None]
    if days is not None:  # days-hours, with minutes and seconds or without
        hours, minutes, seconds = [*parts, 0, 0][:3]
        return ((int(days) * 24 + hours) * 60 + minutes) * 60 + seconds
    if len(parts) == 3:
        return (parts[0] * 60 + parts[1]) * 60 + parts[2]
    minutes, seconds = [*parts, 0][:2]
    return minutes * 60 + seconds


def _gpus(said: dict[str, str]) -> int | None:
    """How many GPUs a batch script asks for."""
    for key in ("gres", "gpus", "gpus-per-node", "gpus-per-task"):
        match = re.search(r"(?:^|:)(\d+)$", said.get(key, "").partition(",")[0])
        if match:
            return int(match[1])
    return None


def _quoted(word: str) -> str:
    """A word as an item of a YAML list, which stays text."""
    return word if re.fullmatch(r"-{0,2}[A-Za-z][\w./-]*", word) else f'"{word}"'
