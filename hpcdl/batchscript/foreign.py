"""Scripts for other queueing systems: PBS, LSF, Grid Engine; SLURM's words for their directives."""

from __future__ import annotations

import re

from hpcdl.text import cut, one_line

_LINE = re.compile(r"^#(PBS|BSUB|\$)[ \t]+(-\S.*)$", re.MULTILINE)
_SYSTEMS = {"PBS": "PBS", "BSUB": "LSF", "$": "Grid Engine"}
_MOST = 30  # lines that are translated
_RESOURCES = {
    "ncpus": "cpus-per-task",
    "mpiprocs": "ntasks-per-node",
    "ppn": "ntasks-per-node",
    "ngpus": "gpus-per-node",
    "gpus": "gpus-per-node",
    "gpu": "gpus-per-node",
    "walltime": "time",
    "h_rt": "time",
    "s_rt": "time",
    "mem": "mem",
    "vmem": "mem",
    "pmem": "mem-per-cpu",
    "h_vmem": "mem-per-cpu",
}
# Letters whose value SLURM takes as it is
_PBS = {"N": "job-name", "A": "account", "q": "partition", "o": "output", "e": "error"}
_PBS |= {"J": "array", "t": "array", "M": "mail-user", "W": "dependency", "P": "account"}
_BSUB = {"J": "job-name", "P": "account", "q": "partition", "o": "output", "e": "error"}
_BSUB |= {"n": "ntasks", "G": "account", "w": "dependency", "u": "mail-user"}
_SGE = {"N": "job-name", "A": "account", "P": "account", "q": "partition", "o": "output"}
_SGE |= {"e": "error", "t": "array", "M": "mail-user"}
_LETTERS = {"PBS": _PBS, "BSUB": _BSUB, "$": _SGE}


def other_system(text: str, shown: str) -> str | None:
    """What to say of a script for another queueing system; None for other scripts."""
    lines_of_other = list(_LINE.finditer(text))
    if not lines_of_other or re.search(r"^#SBATCH", text, re.MULTILINE):
        return None
    kind = lines_of_other[0][1]
    lines = []
    for match in lines_of_other[:_MOST]:
        number = text.count("\n", 0, match.start()) + 1
        line = f"#{match[1]} {match[2].strip()}"
        lines.append(f"  {number}: {cut(one_line(line), 100)}")
        lines.extend(f"       {words}" for words in _translated(match[1], match[2].strip()))
    if len(lines_of_other) > _MOST:
        lines.append(f"  and {len(lines_of_other) - _MOST} more")
    return "\n".join(
        [
            f"{shown} is a script for {_SYSTEMS[kind]}; expected one for SLURM. "
            "The nearest words of SLURM, line by line:",
            *lines,
        ]
    )


def other_text(text: str, shown: str) -> str | None:
    """What to say of a text that is no script at all; None for one that may be."""
    if text.startswith("#!") or re.search(r"^#(?:SBATCH|PBS|BSUB)", text, re.MULTILINE):
        return None
    if not text.strip() or shown.endswith((".slurm", ".sbatch", ".sh", ".bash", ".job")):
        return None
    return f"{shown} is not a batch script; expected a first line #!/bin/bash and #SBATCH lines"


def _translated(kind: str, directive: str) -> list[str]:
    """SLURM's directives for one of another system's."""
    letter, value = directive[1:2], directive[2:].strip()
    words = _of_lsf(letter, value) if kind == "BSUB" else _of_pbs(kind, directive, letter, value)
    name = _LETTERS[kind].get(letter)
    if not words and name and value:
        words = [_sbatch(name, value)]
    return words or ["(nothing like it: see the site's pages)"]


def _of_lsf(letter: str, value: str) -> list[str]:
    """Directives of LSF whose value SLURM says in another way."""
    number = re.search(r"num=(\d+)", value)
    if letter == "g" and value.startswith("pu"):  # -gpu
        return [_sbatch("gpus-per-node", number[1] if number else "1")]
    if letter == "W":
        return [_sbatch("time", f"{value}:00" if ":" in value else value)]
    if letter == "M":
        return [f"{_sbatch('mem', value)} (with its unit: M or G)"]
    hosts, on_each = re.search(r"hosts=(\d+)", value), re.search(r"ptile=(\d+)", value)
    if letter == "R" and hosts:
        return [_sbatch("nodes", hosts[1])]
    if letter == "R" and on_each:
        return [_sbatch("ntasks-per-node", on_each[1])]
    return []


def _of_pbs(kind: str, directive: str, letter: str, value: str) -> list[str]:
    """Directives of PBS or Grid Engine whose value SLURM says in another way."""
    if letter == "l":
        return [word for part in value.split(",") for word in _resource(part.strip())]
    if directive.rstrip() in ("-V", "-j oe", "-j y", "-cwd", "-S /bin/bash"):
        return ["(SLURM does so by itself)"]
    if letter == "m" and kind == "PBS":
        names = {"a": "FAIL", "b": "BEGIN", "e": "END"}
        return [_sbatch("mail-type", ",".join(names[c] for c in value if c in names) or "NONE")]
    if directive.startswith("-pe"):
        return [_sbatch("cpus-per-task", value.split()[-1])]
    return []


def _resource(text: str) -> list[str]:
    """SLURM's directives for walltime=…, select=…, nodes=…, mem=…"""
    is_nodes = text.startswith(("select=", "nodes="))
    words = []
    for number, part in enumerate(re.split(r"[:+]", text) if is_nodes else [text]):
        name, _, value = part.partition("=")
        if name in ("mem", "pmem", "vmem", "h_vmem"):
            value = value.upper().rstrip("B")
        option = "nodes" if number == 0 and is_nodes else _RESOURCES.get(name)
        if option:
            words.append(_sbatch(option, value))
    return words


def _sbatch(name: str, value: str) -> str:
    """A directive of SLURM's."""
    return f"#SBATCH --{name}={one_line(cut(value, 100))}"
