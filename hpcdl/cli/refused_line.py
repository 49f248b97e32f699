"""The #SBATCH line that an answer of sbatch is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcdl.batchscript.model import BatchScript, Directive

# What SLURM's messages name, and the options that may have been meant
_NAMED = {
    "license": ("licenses",),
    "account": ("account", "partition"),
    "partition": ("partition",),
    "qos": ("qos",),
    "reservation": ("reservation",),
    "feature": ("constraint",),
    "node name": ("nodelist", "exclude"),
    "dependency": ("dependency",),
    "gres": ("gres",),
    "generic resource": ("gres",),
    "wckey": ("wckey",),
    "time limit": ("time",),
    "cluster": ("clusters",),
    "burst buffer": ("bb", "bbf"),
}


def refused_line(script: BatchScript, message: str) -> Directive | None:
    """The line of a script that SLURM refuses; None where its message names none of them."""
    text = message.lower()
    for words, names in _NAMED.items():
        given = [found for name in names if (found := script.directive(name)) is not None]
        if words in text and given:
            return given[0]
    return None
