"""Every other #SBATCH option: who pays, how the job behaves, and what sbatch gets as it is."""

from __future__ import annotations

import re

from hpcdl.adopt import size
from hpcdl.adopt.draft import Draft
from hpcdl.adopt.environment import add_variable
from hpcdl.adopt.values import Values
from hpcdl.batchscript.model import Directive, Word
from hpcdl.batchscript.placeholders import is_placeholder
from hpcdl.batchscript.sbatchtable import OPTIONS
from hpcdl.errors import Problem
from hpcdl.job.names import job_name
from hpcdl.job.sbatchoptions import check_options
from hpcdl.yamlfile.reader import Located
from hpcdl.yamlfile.walker import Walker

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,:@+/-]*")
_LOG = "the log is logs/1.log in the run's folder"
_LOG_FIX = "hpcdl logs RUN shows it"
# Options that say nothing of a job's own, each with the reason
_MEANINGLESS = {
    "wait": ("hpcdl submit --wait waits for the run's end", ""),
    "parsable": ("hpcdl submit prints the run's folder", ""),
    "quiet": ("hpcdl submit says one line", ""),
    "verbose": ("hpcdl submit says one line", ""),
    "test-only": ("hpcdl check asks SLURM that", ""),
    "open-mode": (_LOG, _LOG_FIX),
    "output": (_LOG, _LOG_FIX),
    "error": (_LOG, _LOG_FIX),
}
_CLUSTER_KEYS = ("account", "partition", "qos", "clusters")
# Options of a plugin of SLURM's that starts containers of its own
_PYXIS = ("container-", "no-container-")
_DONE_ELSEWHERE = ("chdir", "array")


def add_options(draft: Draft) -> None:
    """Write each #SBATCH option that is not about the size."""
    draft.put("name", job_name(draft.script.path.stem), 1)
    for directive in draft.script.all_directives:
        if not directive.is_option:
            draft.leave(directive.line, directive.text, "sbatch ignores this word", "take it out")
    for directive in draft.script.directives:
        if directive.name not in (*size.OPTIONS, *_DONE_ELSEWHERE):
            _add_option(draft, directive)
    for directive in draft.script.ignored:
        why = "stands below the first command, where sbatch does not read it"
        draft.leave_option(directive, why, "move it up if it is meant to count")


def _add_option(draft: Draft, directive: Directive) -> None:
    """Write one option: to a key of its own, or to the section ``slurm``."""
    name, value = directive.name, (directive.value or "").strip()
    if name in _MEANINGLESS:
        draft.leave_option(directive, *_MEANINGLESS[name])
    elif is_placeholder(name, value):
        draft.leave_option(directive, "is a placeholder", _own_value(name))
    elif name == "job-name":
        _add_name(draft, directive)
    elif name in _CLUSTER_KEYS:
        _add_cluster_key(draft, directive)
    elif name in ("requeue", "no-requeue"):
        draft.put("cluster.requeue", name == "requeue", directive.line)
    elif name == "signal":
        _add_signal(draft, directive)
    elif name == "export":
        _add_export(draft, directive)
    elif name == "get-user-env":
        draft.leave_option(directive, "a job gets no variable of your shell", "say it under env")
    elif name.startswith(_PYXIS):
        why = "a job's container is Apptainer's, not pyxis's"
        draft.leave_option(directive, why, of_pyxis(name))
    else:
        _pass_on(draft, directive, value)


def _add_name(draft: Draft, directive: Directive) -> None:
    text = (directive.value or "").strip()
    name = job_name(text) if text else ""
    if not name:
        draft.leave_option(directive, "names no job")
        return
    draft.put("name", name, directive.line)
    if name != text:
        draft.leave_option(directive, f"a job's name has no such characters: it is {name}")


def _own_value(name: str) -> str:
    """What to write in the place of a placeholder."""
    if name in _CLUSTER_KEYS:
        return f"write your own: cluster: {{{name}: ...}}, or keep it with hpcdl init"
    key = name if name == "job-name" else f"slurm: {{{name}: ...}}"
    return f"write your own: {key.replace('job-name', 'name: ...')}"


def _add_cluster_key(draft: Draft, directive: Directive) -> None:
    value = (directive.value or "").strip()
    if not value:
        draft.leave_option(directive, "is a placeholder", _own_value(directive.name))
    elif not _WORD.fullmatch(value) or (directive.name == "clusters" and "," in value):
        draft.leave_option(directive, f"is not one plain word, as a job's {directive.name} is")
    else:
        draft.put(f"cluster.{directive.name}", value, directive.line)


def _add_signal(draft: Draft, directive: Directive) -> None:
    """When the job is warned, and with which signal the program is."""
    options, _, rest = (directive.value or "").rpartition(":")
    name, _, lead = rest.partition("@")
    lead_s = int(lead) if lead.isdecimal() else 60  # as SLURM has it by default
    draft.put("cluster.signal_lead_s", max(1, lead_s), directive.line)
    own = {"10": "USR1", "12": "USR2"}.get(name, name.upper().removeprefix("SIG"))
    if "B" in options:
        why = "SLURM warns hpcdl's batch shell with USR2, which makes the stop file"
        fix = "stop_signal: USR1 sends the program a signal besides, if it handles that"
        draft.leave_option(directive, why, fix)
    elif own in ("USR1", "USR2") and draft.get("resources.nodes") in (None, 1):
        draft.put("stop_signal", own, directive.line)
    else:
        why = f"a job on one node passes USR1 or USR2 on to its program; this is {own or 'none'}"
        draft.leave_option(directive, why, "stop_signal: USR1, for a program that handles it")


def _add_export(draft: Draft, directive: Directive) -> None:
    """Variables that the job gets with their values; it gets none of the shell's."""
    names = []
    for part in (directive.value or "").split(","):
        name, equals, value = part.strip().partition("=")
        if equals and re.fullmatch(r"[A-Za-z_]\w*", name):
            add_variable(draft, Values((), {}), name, Word(value, value), directive.line)
        elif part.strip() and name != "NONE":
            names.append(name or part.strip())
    if names:
        why = f"a job gets no variable of your shell: {', '.join(names)}"
        draft.leave_option(directive, why, "say those that the program needs under env")


def of_pyxis(name: str) -> str:
    """What takes the place of an option of pyxis's."""
    return {
        "container-image": "make a file of it: apptainer pull IMAGE.sif docker://..., "
        "and say container: IMAGE.sif",
        "container-mounts": "cluster: {binds: [/FOLDER:/TARGET]}",
        "container-workdir": "workdir: FOLDER",
    }.get(name, "")


def _pass_on(draft: Draft, directive: Directive, value: str) -> None:
    """Write an option that sbatch gets as it is; leave one that a job cannot have."""
    if directive.name not in OPTIONS:
        draft.leave_option(directive, "sbatch has no such option", "take it out, or correct it")
        return
    if not value and (directive.value is not None or OPTIONS[directive.name] == "required"):
        draft.leave_option(directive, "has no value, and says nothing")
        return
    problems: list[Problem] = []
    item = Located(value, "", value)
    if not value:
        item = Located(True, "", "true")
    flag = {directive.name: Located("", "", "") if item.value is True else item}
    check_options(flag, Walker(problems))
    if problems:
        draft.leave_option(directive, problems[0].message)
    else:
        draft.put(f"slurm.{directive.name}", value or True, directive.line)
