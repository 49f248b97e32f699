"""What SLURM's answers mean for a profile: nodes, queues, who pays, and how to ask for GPUs and memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hpcdl.discover.lines import Line
from hpcdl.errors import SchedulerError, UserError
from hpcdl.job import format_time
from hpcdl.job.walker import did_you_mean
from hpcdl.scheduler import rights
from hpcdl.scheduler.site import Association, NodeShape, Partition, Site

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]*")  # what a profile takes as the name of something
_SLICE = re.compile(r"\dg\.\d+gb")  # as in a100_3g.20gb: a part of a GPU
_ENOUGH = 0.75  # of a node's memory: where SLURM's default gives that with all CPUs or GPUs, nobody need ask


def queue_lines(site: Site, wanted: str | None = None) -> Iterator[Line]:
    """What SLURM tells of a site.

    Args:
        site: SLURM's answers.
        wanted: the partition to describe; by default the default one, or where that has no GPUs, the one with most.

    Raises:
        UserError: there is no such partition.
        SchedulerError: SLURM tells of no partition at all.
    """
    main, reason = _main_partition(site, wanted)
    shapes = _shapes(site, main)
    shape = _common(shapes)
    yield _name(site)
    yield Line("description", _description(site, main, shape), "for hpcdl cluster list")
    yield _node(site, main, shape)
    yield _word("partition", main.name, f"scontrol show partition: {reason}")
    yield _partitions(site, main, shape)
    yield from _accounts(site, main)
    yield from _qos(site, main)
    yield _gpu_request(site)
    yield _gpu_type(main, shape, shapes)
    yield _memory_request(_memory_rules(site, main), shape)
    yield _architecture(shape)
    yield from _behaviour(site.config)


def _main_partition(site: Site, wanted: str | None) -> tuple[Partition, str]:
    """The partition that jobs go to, and why."""
    known = {row.name: row for row in site.partitions}
    if not known:
        raise SchedulerError("scontrol show partition tells of no partition that you can see; ask the site")
    if wanted is not None:
        if wanted not in known:
            raise UserError(f"there is no partition {wanted!r}{did_you_mean(wanted, known)}")
        return known[wanted], "the one that was asked for"
    usable = [row for row in site.partitions if _takes_me(site, row)] or list(site.partitions)
    default = next((row for row in usable if row.default), None)
    if default and _gpus_in(site, default):
        return default, "the default one"
    most = max(usable, key=lambda row: _preference(site, row))
    lacking = _why_not_default(site, default)
    if _gpus_in(site, most):
        return most, f"{lacking}; this has most of them"
    return default or most, "no partition here has GPUs"


def _preference(site: Site, row: Partition) -> tuple[bool, bool, int, float]:
    """The more the better: any GPUs, open to all if the user's accounts are unknown, GPUs, time."""
    gpus = _gpus_in(site, row)
    unknown = not site.associations and bool(row.accounts or row.qos)
    return gpus > 0, not unknown, gpus, row.max_time_s or float("inf")


def _why_not_default(site: Site, default: Partition | None) -> str:
    """Why the default partition is not the one that jobs go to."""
    if default:
        return f"the default one, {default.name}, has no GPUs"
    if any(row.default for row in site.partitions):
        return "you cannot use the default one now"
    return "none is the default one"


def _takes_me(site: Site, partition: Partition) -> bool:
    """Whether a plain job of this user may go there."""
    special = partition.hidden or partition.needs_reservation
    return not special and bool(rights.ways_in(site, partition))


def _shapes(site: Site, partition: Partition) -> list[NodeShape]:
    """A partition's nodes, with the memory that it lets jobs have."""
    rules = _memory_rules(site, partition)
    return [
        replace(row, memory_mb=min([row.memory_mb, *_most_mb(row, rules).values()]))
        for row in site.nodes
        if partition.name in row.partitions
    ]


def _memory_rules(site: Site, partition: Partition) -> dict[str, str]:
    """The site's configuration with the partition's own: its DefMemPerNode stands in for the site's DefMemPerCPU."""
    own = {key[:6] for key in partition.memory} & {"DefMem", "MaxMem"}
    return {key: value for key, value in site.config.items() if key[:6] not in own} | partition.memory


def _most_mb(row: NodeShape, rules: dict[str, str]) -> dict[str, int]:
    """What a job may have of a node's memory, by the rule that says so."""
    each = {"MaxMemPerNode": 1, "MaxMemPerCPU": row.cpus}
    return {name: int(rules[name]) * n for name, n in each.items() if rules.get(name, "").isdigit()}


def _gpus_in(site: Site, partition: Partition) -> int:
    return sum(sum(row.gpus.values()) * len(row.names) for row in _shapes(site, partition))


def _common(shapes: list[NodeShape]) -> NodeShape | None:
    """The most common shape of nodes, of those with GPUs and in service where there are any."""
    alike: dict[tuple[Any, ...], NodeShape] = {}
    for row in shapes:
        size = (row.cpus, row.memory_mb, tuple(row.gpus.items()))
        other = alike.get(size, replace(row, names=()))
        alike[size] = replace(other, names=other.names + row.names, up=other.up or row.up)
    return max(alike.values(), key=lambda row: (bool(row.gpus), row.up, len(row.names)), default=None)


def _gpu(shape: NodeShape) -> tuple[str, int]:
    """The type of GPU that a node has most of ("" where SLURM knows none), and how many; whole ones before slices."""
    return max(shape.gpus.items(), key=lambda item: (not _SLICE.search(item[0]), item[1]), default=("", 0))


def _shape(shape: NodeShape) -> dict[str, Any]:
    """A profile's ``node``."""
    kind, gpus = _gpu(shape)
    found: dict[str, Any] = {"cpus": max(1, shape.cpus), "gpus": gpus}
    if shape.memory_mb >= 1024:  # a site that says nothing has 1 MB
        found["memory_gb"] = shape.memory_mb // 1024
    return {**found, **({"gpu_model": kind} if kind else {})}


def _name(site: Site) -> Line:
    name = site.config.get("ClusterName", "")
    if _WORD.fullmatch(name):
        return Line("name", name, "scontrol show config: ClusterName")
    return Line("name", "mycluster", f"scontrol show config: ClusterName is {name!r}, so this is as good")


def _description(site: Site, main: Partition, shape: NodeShape | None) -> str:
    size = f", {_gpu(shape)[1]} GPUs and {shape.cpus} CPUs a node" if shape else ""
    return f"partition {main.name}{size} (SLURM {site.config.get('SLURM_VERSION', 'of unknown version')})"


def _node(site: Site, main: Partition, shape: NodeShape | None) -> Line:
    if shape is None:
        how = f"scontrol show node tells of none in {main.name}; see the site's documentation"
        return Line("node", {"cpus": 32, "gpus": 4, "memory_gb": 480}, how, "unknown")
    limits = [name for name, mb in _most_mb(shape, _memory_rules(site, main)).items() if mb == shape.memory_mb]
    memory = f"; memory by {limits[0]}" if limits else ""
    return Line("node", _shape(shape), f"scontrol show node: {_so_many(shape, _shapes(site, main))}{memory}")


def _so_many(shape: NodeShape, shapes: list[NodeShape]) -> str:
    total, names = sum(len(row.names) for row in shapes), sorted(shape.names, key=len)
    many = f"{len(names)} of {total} nodes" if len(names) < total else f"all {total} nodes" if total > 1 else "1 node"
    which = f"{names[0]} to {names[-1]}" if len(names) > 1 else names[0]
    return f"{many}, {which}{'' if shape.up else ', out of service now'}"


def _partitions(site: Site, main: Partition, usual: NodeShape | None) -> Line:
    """The partitions to choose from, each with what differs from the profile; where there is one only, its limit."""
    rows = []
    for row in site.partitions:
        shapes = _shapes(site, row)
        shape = _common(shapes)
        if row != main and not (shape and _takes_me(site, row) and _WORD.fullmatch(row.name)):
            continue
        value: dict[str, Any] = {"max_time": format_time(row.max_time_s)} if row.max_time_s else {}
        if shape and usual and _shape(shape) != _shape(usual):
            kind = _gpu(shape)[0]
            value |= {"node": _shape(shape)} | ({"gpu_type": kind} if _WORD.fullmatch(kind) else {})
        rows.append(Line(row.name, value, _so_many(shape, shapes) if shape else "no nodes"))
    if len(rows) > 1:
        return Line("partitions", tuple(rows), "scontrol show partition, scontrol show node: those to choose from")
    if main.max_time_s is None:
        return Line("max_time", "3-00:00:00", f"partition {main.name} has no limit", "unneeded")
    return Line("max_time", format_time(main.max_time_s), f"scontrol show partition: {main.name}, MaxTime")


def _mine(site: Site, main: Partition) -> tuple[str, list[Association]]:
    """The account to use in the partition, and the associations that bind its jobs there."""
    ways = rights.ways_in(site, main)
    known = [account for account, _ in ways if account]
    account = next(iter(known), rights.default_account(site) or "")
    if not account and site.associations:
        account = rights.my_accounts(site)[0]
    return account, rights.binding(site, account, [main.name]) if account else []


def _accounts(site: Site, main: Partition) -> Iterator[Line]:
    account, _ = _mine(site, main)
    if not account:
        how = "sacctmgr tells of none; it is who pays, where the site wants to know: ask the site"
        yield Line("account", "my_group", how, "unknown")
        return
    why = "your default account"
    if account != rights.default_account(site):
        why = f"{main.name} takes this one of yours"
    yield _word("account", account, f"sacctmgr show user: {why}")
    others = [name for name in rights.my_accounts(site) if name != account]
    if others:
        value = [account, *filter(_WORD.fullmatch, others)]
        yield Line("accounts", value, "sacctmgr show user: all of yours")


def _qos(site: Site, main: Partition) -> Iterator[Line]:
    account, rows = _mine(site, main)
    ways = [qos for name, qos in rights.ways_in(site, main) if name == account]
    allowed = [name for name in ways if name is not None]
    limits = {row.name: row.max_wall_s for row in site.qos or ()}
    default = rights.default_qos(rows)
    if None in ways and default in allowed and any(row.default_qos for row in rows):
        yield _word("qos", default or "", f"sacctmgr show user: the default one of {account}")
    elif allowed and None not in ways:
        longest = max(allowed, key=lambda name: limits.get(name) or float("inf"))
        why = f"of what {main.name} takes, this lasts longest"
        yield _word("qos", longest, f"scontrol show partition: {why}")
    elif rows:
        yield Line("qos", "normal", "SLURM takes its own default", "unneeded")
    else:
        yield Line("qos", "normal", "sacctmgr tells of none; see the site's examples", "unknown")
    yield from _qos_choices(account, allowed, limits)


def _qos_choices(account: str, allowed: list[str], limits: dict[str, int | None]) -> Iterator[Line]:
    choices = []
    for name in filter(_WORD.fullmatch, allowed):
        most_s = limits.get(name)
        value = {"max_time": format_time(most_s)} if most_s else {}
        choices.append(Line(name, value, "MaxWall" if most_s else "no MaxWall"))
    if len(choices) > 1:
        how = f"sacctmgr show user, sacctmgr show qos: what {account} may use"
        yield Line("qos_choices", tuple(choices), how)


def _gpu_request(site: Site) -> Line:
    plugin = site.config.get("SelectType", "this one")
    return Line(
        "gpu_request", "gres", f"every SLURM has --gres, --gpus-per-node needs select/cons_tres (here {plugin})"
    )


def _gpu_type(main: Partition, shape: NodeShape | None, shapes: list[NodeShape]) -> Line:
    """SLURM takes the type wherever it knows one; some sites refuse GPUs without, and types may be mixed."""
    kinds = sorted({kind for row in shapes for kind in row.gpus if kind})
    kind = _gpu(shape)[0] if shape else ""
    if not _WORD.fullmatch(kind):
        return Line("gpu_type", "h100", "SLURM knows no types of GPUs here", "unneeded")
    others = [other for other in kinds if other != kind]
    also = f"; {main.name} has {', '.join(others)} too" if others else ""
    return Line("gpu_type", kind, f"scontrol show node: Gres; it may be named, and some sites want it{also}")


def _memory_request(config: dict[str, str], shape: NodeShape | None) -> Line:
    """Source: https://slurm.schedmd.com/slurm.conf.html, SelectTypeParameters, DefMemPerCPU and JobDefaults."""

    def line(value: str, why: str) -> Line:
        return Line("memory_request", value, f"scontrol show config: {why}")

    resources = config.get("SelectTypeParameters", "not set")
    if shape is None or "SelectType" not in config:
        return Line("memory_request", "mem", "see whether the site's examples have --mem", "unknown")
    if "MEMORY" not in resources.upper():
        return line("none", f"SelectTypeParameters is {resources}: memory is not given out")
    jobs = dict(re.findall(r"(\w+)=(\d+)", config.get("JobDefaults", "")))
    for name, each, given in (
        ("DefMemPerGPU", _gpu(shape)[1], jobs.get("DefMemPerGPU")),
        ("DefMemPerCPU", shape.cpus, config.get("DefMemPerCPU")),
    ):
        if given and given.isdigit() and each:
            words = f"{name} is {given} MB"
            if int(given) * each >= _ENOUGH * shape.memory_mb:
                return line("none", f"{words}: enough memory comes with the {name[-3:]}s")
            return line("mem", f"{words}: {int(given) * each // 1024} of a node's {shape.memory_mb // 1024} GB")
    given = config.get("DefMemPerNode")
    if given:
        return line("mem", f"DefMemPerNode is {given} MB, for however small a job")
    return line("mem", f"SelectTypeParameters is {resources}: who does not ask gets all of a node's memory")


def _architecture(shape: NodeShape | None) -> Line:
    if shape is None or not shape.architecture:
        return Line("architecture", "x86_64", "srun uname -m tells it", "unknown")
    return Line("architecture", shape.architecture, "scontrol show node: Arch")


def _behaviour(config: dict[str, str]) -> Iterator[Line]:
    again = config.get("JobRequeue")
    if again in ("0", "1"):
        why = "jobs are not requeued by default; see whether the site lets them be" if again == "0" else "they may be"
        yield Line("requeue", again == "1", f"scontrol show config: JobRequeue is {again}, {why}")
    else:
        yield Line("requeue", True, "see the site's documentation", "unknown")
    kill = config.get("KillWait", "a while")
    why = f"KillWait leaves {kill} at the limit, too short to save: SLURM warns this long before"
    yield Line("signal_lead_s", 180, f"scontrol show config: {why}")
    local = config.get("TmpFS", "")
    if re.fullmatch("/(?!tmp$)[^%]+", local):
        yield Line("scratch", local, "scontrol show config: TmpFS", "guess")
    else:
        how = "its /tmp is used; this, where srun printenv TMPDIR tells of a folder of the job's own"
        yield Line("scratch", "$TMPDIR", how, "unneeded")


def _word(key: str, value: str, why: str) -> Line:
    """A key whose value must be one plain word."""
    if _WORD.fullmatch(value):
        return Line(key, value, why)
    return Line(key, "SOMETHING", f"{why}, which says {value!r}: no plain word", "unknown")
