"""Scripts for other queueing systems: PBS, LSF, Grid Engine; SLURM's words for their directives."""

from __future__ import annotations

import re

from hpcdl.text import cut, one_line

_LINE = re.compile(r"^#(PBS|BSUB|\$)[ \t]+(-\S.*)$", re.MULTILINE)
_SYSTEMS = {"PBS": "PBS", "BSUB": "LSF", "$": "Grid Engine"}
_MOST = 30  # lines that are translated
_CHUNK = {"ncpus": "cpus-per-task", "mpiprocs": "ntasks-per-node", "ngpus": "gpus-per-node"}
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
    found = list(_LINE.finditer(text))
    if not found or re.search(r"^#SBATCH", text, re.MULTILINE):
        return None
    kind = found[0][1]
    lines = []
    for match in found[:_MOST]:
        number = text.count("\n", 0, match.start()) + 1
        line = f"#{match[1]} {match[2].strip()}"
        lines.append(f"  {number}: {cut(one_line(line), 100)}")
        lines.extend(f"       {words}" for words in _translated(match[1], match[2].strip()))
    if len(found) > _MOST:
        lines.append(f"  and {len(found) - _MOST} more")
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
    if kind == "BSUB" and directive.startswith("-gpu"):
        number = re.search(r"num=(\d+)", directive)
        return [_sbatch("gpus-per-node", number[1] if number else "1")]
    if kind == "BSUB" and letter == "W":
        return [_sbatch("time", f"{value}:00" if ":" in value else value)]
    if kind == "BSUB" and letter == "M":
        return [f"{_sbatch('mem', value)} (see the unit)"]
    if kind == "BSUB" and letter == "R":
        hosts = re.search(r"span\[hosts=(\d+)\]", value)
        per_host = re.search(r"span\[ptile=(\d+)\]", value)
        if hosts or per_host:
            return (
                [
                    _sbatch("nodes", hosts[1]) if hosts else _sbatch("ntasks-per-node", per_host[1])
                    for hosts, per_host in [(hosts, per_host)]
                ]
                if hosts or not per_host
                else [_sbatch("ntasks-per-node", per_host[1])]
            )
    if letter == "l":
        words = [word for part in value.split(",") for word in _resource(part.strip())]
        return words or ["(nothing like it: see the site's pages)"]
    if kind == "PBS" and directive in ("-V", "-j oe"):
        return ["(SLURM does so by itself)"]
    if kind == "PBS" and letter == "m":
        names = {"a": "FAIL", "b": "BEGIN", "e": "END"}
        return [_sbatch("mail-type", ",".join(names[c] for c in value if c in names) or "NONE")]
    name = _LETTERS[kind].get(letter)
    return [_sbatch(name, value)] if name else ["(nothing like it: see the site's pages)"]


def _resource(text: str) -> list[str]:
    """SLURM's directives for walltime=…, select=…, nodes=…, mem=…"""
    words = []
    for number, part in enumerate(
        re.split(r"[:+]", text) if "select" in text or "nodes" in text else [text]
    ):
        name, _, value = part.partition("=")
        if number == 0 and name in ("select", "nodes"):
            words.append(_sbatch("nodes", value))
        elif name in ("walltime", "h_rt", "s_rt"):
            words.append(_sbatch("time", value))
        elif name in ("mem", "pmem", "vmem", "h_vmem"):
            option = "mem" if name in ("mem", "vmem") else "mem-per-cpu"
            words.append(_sbatch(option, value.upper().rstrip("B")))
        elif name in _CHUNK or name in ("ppn", "gpus"):
            words.append(
                _sbatch(
                    {"ppn": "ntasks-per-node", "gpus": "gpus-per-node"}.get(
                        name, _CHUNK.get(name, "")
                    ),
                    value,
                )
            )
    return words


def _sbatch(name: str, value: str) -> str:
    """A directive of SLURM's."""
    return f"#SBATCH --{name}={one_line(cut(value, 100))}"
