"""The section ``slurm`` of a job: which options of sbatch it may hold, and how they are written."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hpcdl.text import show
from hpcdl.yamlfile.reader import Located
from hpcdl.yamlfile.walker import Walker

_OPTION = re.compile(r"[a-z][a-z0-9-]+")
NO_DIRECTIVE = (
    "a #SBATCH line cannot carry a line break, a control character, a backslash "
    "or both kinds of quotes"
)
# sbatch options that are flags; exclusive may also be user, mcs or topo
_FLAGS = (
    *("exclusive", "contiguous", "hold", "overcommit", "oversubscribe", "reboot", "spread-job"),
    *("use-min-nodes", "ignore-pbs", "quiet", "verbose"),
)
_YES_OR_NO = ("yes", "no", "on", "off", "true", "false", "y", "n", "1", "0")
# sbatch options that take names with commas between them
_LISTS = ("exclude", "nodelist", "mail-type", "licenses", "reservation")
_YES_OR_NO_OPTION = "kill-on-invalid-dep"
_SHORT = {"x": "exclude", "w": "nodelist", "C": "constraint", "d": "dependency", "L": "licenses"}
# sbatch options that hpcdl writes itself, or that would change those: what to use instead
_ONE_TASK = (
    "a job is one program on one node; say how big it is with resources.gpus and resources.cpus"
)
_USE_INSTEAD = {
    "account": "say account in the cluster profile, or in this job as cluster: {account: ...}",
    "partition": "say partition in the cluster profile, "
    "or in this job as cluster: {partition: ...}",
    "qos": "say qos in the cluster profile, or in this job as cluster: {qos: ...}",
    **dict.fromkeys(("requeue", "no-requeue"), "say requeue in the cluster profile"),
    "signal": "say signal_lead_s in the cluster profile, "
    "and stop_signal here for a script's own handler",
    "nodes": "say resources.nodes",
    "time": 'say resources.time, as in resources: {time: "02:00:00"}',
    "cpus-per-task": "say resources.cpus",
    **dict.fromkeys(
        ("gres", "gpus", "gpus-per-node", "gpus-per-socket"),
        "say resources.gpus; their type is the profile's gpu_type",
    ),
    **dict.fromkeys(("mem", "mem-per-cpu", "mem-per-gpu"), "say resources.memory_gb"),
    **dict.fromkeys(("ntasks", "ntasks-per-node", "gpus-per-task"), _ONE_TASK),
    "array": "a run is one job; submit one for each value, in a loop: "
    "for n in 1 2 3; do hpcdl submit JOB --set train.seed=$n; done",
    "export": "a job gets none of your shell's variables; say those that it needs in env",
    "wrap": "name the program as script",
    "wait": "leave it out; hpcdl submit --wait waits for the run's end",
    "test-only": "leave it out; hpcdl check asks SLURM that",
    "chdir": "say workdir, for a script; a model's run has its own folder",
    **dict.fromkeys(
        ("output", "error", "open-mode"),
        "the log is logs/1.log in the run's folder: hpcdl logs RUN",
    ),
    "job-name": "say name",
    **dict.fromkeys(
        ("clusters", "cluster"),
        "say clusters in the cluster profile, or in this job as cluster: {clusters: NAME}",
    ),
}


def directive_carries(value: str) -> bool:
    """Whether the value of a #SBATCH option can be written so that sbatch reads just that."""
    return value.isprintable() and "\\" not in value and not {"'", '"'} <= set(value)


def with_flags(document: Located) -> Located:
    """The document with sbatch's flags as options without a value.

    Under ``slurm``, true and nothing give the bare flag, and false leaves it out. Lists of names
    become sbatch's, with commas.
    """
    if not isinstance(document.value, dict):
        return document
    section = document.value.get("slurm")
    if section is None or not isinstance(section.value, dict):
        return document
    options = {}
    for name, item in section.value.items():
        option = _as_option(name, item)
        if option is not None:
            options[name] = option
    changed = Located(options, section.where)
    return Located({**document.value, "slurm": changed}, document.where)


def _as_option(name: str, item: Located) -> Located | None:
    """An option as sbatch takes it; None for a flag that is left out."""
    if name == _YES_OR_NO_OPTION and isinstance(item.value, bool):
        return _text("yes" if item.value else "no", item)
    if item.value is None or item.value is True:
        return _text("", item)
    if item.value is False:
        return None
    if name in _LISTS and isinstance(item.value, list) and item.value:
        names = [part.raw for part in item.value]
        if all(names):
            return _text(",".join(map(str, names)), item)
    return item


def _text(text: str, item: Located) -> Located:
    """A text in the place of an item."""
    return Located(text, item.where, text)


def check_options(section: Mapping[str, Located], walker: Walker) -> None:
    """The options are sbatch's, are not hpcdl's own, and can be written in a #SBATCH line."""
    for key, item in section.items():
        instead = _use_instead(key) or _use_instead(_in_sbatchs_writing(key))
        if instead:
            walker.add(
                item, f"slurm.{key}", f"is not for this section, as hpcdl writes it: {instead}"
            )
        elif not _OPTION.fullmatch(key):
            message = "is not an sbatch option's long name, such as constraint or mail-type"
            walker.add(item, f"slurm.{key}", message + _meant(key))
        elif key in _FLAGS and _is_yes_or_no(item):
            message = f"is a flag: expected true or false, without quotes; got {show(item.raw)}"
            walker.add(item, f"slurm.{key}", message)
        if item.raw is not None and not directive_carries(item.raw):
            walker.add(item, f"slurm.{key}", f"{NO_DIRECTIVE}; got {show(item.raw)}")


def _is_yes_or_no(item: Located) -> bool:
    """Whether a flag's value is a text such as yes, which sbatch would not take."""
    return not isinstance(item.value, bool) and str(item.raw).lower() in _YES_OR_NO


def _in_sbatchs_writing(key: str) -> str:
    """An option's long name, of one with dashes in front, capitals, underscores, or of a letter."""
    plain = key.strip("-")
    return _SHORT.get(plain, plain.lower().replace("_", "-"))


def _meant(key: str) -> str:
    meant = _in_sbatchs_writing(key)
    if not _OPTION.fullmatch(meant):
        return ""
    return f"; did you mean {meant}?"


def _use_instead(key: str) -> str | None:
    """What to use in place of an sbatch option that hpcdl writes itself; None for any other option.

    sbatch takes the beginning of an option's name for the option: ``parti`` is ``partition``.
    """
    if key in _USE_INSTEAD:
        return _USE_INSTEAD[key]
    if len(key) > 1:
        for name, instead in _USE_INSTEAD.items():
            if name.startswith(key):
                return f"{key} is short for {name}; {instead}"
    return None
