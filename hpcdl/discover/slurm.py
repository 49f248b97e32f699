"""Makes a profile's lines from SLURM's answers: the partition, its nodes, GPUs and memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hpcdl.cluster.gpu_vendors import is_amd
from hpcdl.discover.accounts import account_lines, qos_lines
from hpcdl.discover.lines import Line, is_word, word_line
from hpcdl.discover.nodes import (
    describe_share,
    gpus_in,
    main_gpu,
    memory_limits_mb,
    memory_rules,
    most_common,
    node_value,
    shapes_of,
)
from hpcdl.errors import SchedulerError, UserError
from hpcdl.job import format_time
from hpcdl.scheduler import rights
from hpcdl.scheduler.site import NodeShape, Partition, Site
from hpcdl.text import did_you_mean

# Of a node's memory: a job need not ask if all CPUs or GPUs of a node bring this share by default.
_ENOUGH_MEMORY = 0.75


def name_line(site: Site) -> Line:
    """The key ``name``."""
    name = site.config.get("ClusterName", "")
    if is_word(name):
        return Line("name", name, "scontrol show config: ClusterName")
    why = f"scontrol show config: ClusterName is {name!r}; choose any name"
    return Line("name", "mycluster", why)


def queue_lines(site: Site, partition_name: str | None = None) -> Iterator[Line]:
    """The keys that SLURM's answers tell.

    Args:
        site: SLURM's answers.
        partition_name: the partition to describe. By default it is SLURM's default one, or the one
            with the most GPUs if the default one has none.

    Raises:
        UserError: there is no such partition.
        SchedulerError: SLURM lists no partition at all.
    """
    main, reason = _main_partition(site, partition_name)
    shapes = shapes_of(site, main)
    shape = most_common(shapes)
    yield Line("description", _description(site, main, shape), "for hpcdl cluster list")
    yield _node(site, main, shape)
    yield word_line("partition", main.name, f"scontrol show partition: {reason}")
    yield _partitions(site, main, shape)
    yield from account_lines(site, main)
    yield from qos_lines(site, main)
    yield _gpu_request(site)
    yield _gpu_type(main, shape, shapes)
    yield _gpu_vendor(shape)
    yield _memory_request(memory_rules(site, main), shape)
    yield _architecture(shape)
    yield _requeue(site.config)
    yield _signal_lead(site.config)
    yield _scratch(site.config)


def _main_partition(site: Site, partition_name: str | None) -> tuple[Partition, str]:
    """The partition that jobs go to, and why."""
    by_name = {partition.name: partition for partition in site.partitions}
    if not by_name:
        message = "scontrol show partition lists no partition that you can see; ask the site"
        raise SchedulerError(message)
    if partition_name is not None:
        if partition_name not in by_name:
            similar = did_you_mean(partition_name, by_name)
            raise UserError(f"there is no partition {partition_name!r}{similar}")
        return by_name[partition_name], "the one that was asked for"
    usable = [partition for partition in site.partitions if _takes_me(site, partition)]
    usable = usable or list(site.partitions)
    default = next((partition for partition in usable if partition.default), None)
    if default and gpus_in(site, default):
        return default, "the default one"
    best = max(usable, key=lambda partition: _preference(site, partition))
    if gpus_in(site, best):
        return best, f"{_why_not_default(site, default)}; this has most of them"
    return default or best, "no partition here has GPUs"


def _preference(site: Site, partition: Partition) -> tuple[bool, bool, int, float]:
    """A rank: any GPUs, open to all if the user's accounts are unknown, number of GPUs, time."""
    gpus = gpus_in(site, partition)
    may_refuse = not site.associations and bool(partition.accounts or partition.qos)
    return gpus > 0, not may_refuse, gpus, partition.max_time_s or float("inf")


def _why_not_default(site: Site, default: Partition | None) -> str:
    """Why jobs do not go to the default partition."""
    if default:
        return f"the default one, {default.name}, has no GPUs"
    if any(partition.default for partition in site.partitions):
        return "you cannot use the default one now"
    return "none is the default one"


def _takes_me(site: Site, partition: Partition) -> bool:
    """Whether a plain job of this user may go to a partition."""
    is_special = partition.hidden or partition.needs_reservation
    return not is_special and bool(rights.ways_in(site, partition))


def _description(site: Site, main: Partition, shape: NodeShape | None) -> str:
    size = ""
    if shape:
        _, gpus = main_gpu(shape)
        size = f", {gpus} GPUs and {shape.cpus} CPUs a node"
    version = site.config.get("SLURM_VERSION", "of unknown version")
    return f"partition {main.name}{size} (SLURM {version})"


def _node(site: Site, main: Partition, shape: NodeShape | None) -> Line:
    if shape is None:
        why = f"scontrol show node lists none in {main.name}; see the site's documentation"
        return Line("node", {"cpus": 32, "gpus": 4, "memory_gb": 480}, why, "unknown")
    memory = ""
    for rule, limit_mb in memory_limits_mb(shape, memory_rules(site, main)).items():
        if limit_mb == shape.memory_mb:
            memory = f"; memory by {rule}"
            break
    share = describe_share(shape, shapes_of(site, main))
    return Line("node", node_value(shape), f"scontrol show node: {share}{memory}")


def _partitions(site: Site, main: Partition, usual: NodeShape | None) -> Line:
    """The partitions to choose from; the time limit if there is only one."""
    lines = []
    for partition in site.partitions:
        if partition == main or _can_be_chosen(site, partition):
            lines.append(_partition(site, partition, usual))
    if len(lines) > 1:
        why = "scontrol show partition, scontrol show node: those to choose from"
        return Line("partitions", tuple(lines), why)
    if main.max_time_s is None:
        return Line("max_time", "3-00:00:00", f"partition {main.name} has no limit", "unneeded")
    why = f"scontrol show partition: {main.name}, MaxTime"
    return Line("max_time", format_time(main.max_time_s), why)


def _can_be_chosen(site: Site, partition: Partition) -> bool:
    has_nodes = bool(shapes_of(site, partition))
    return has_nodes and is_word(partition.name) and _takes_me(site, partition)


def _partition(site: Site, partition: Partition, usual: NodeShape | None) -> Line:
    """One partition, with what differs from the profile's own values."""
    shapes = shapes_of(site, partition)
    shape = most_common(shapes)
    value: dict[str, Any] = {}
    if partition.max_time_s:
        value["max_time"] = format_time(partition.max_time_s)
    if shape is None:
        return Line(partition.name, value, "no nodes")
    if usual and node_value(shape) != node_value(usual):
        value["node"] = node_value(shape)
        gpu_type, _ = main_gpu(shape)
        if is_word(gpu_type):
            value["gpu_type"] = gpu_type
    return Line(partition.name, value, describe_share(shape, shapes))


def _gpu_request(site: Site) -> Line:
    plugin = site.config.get("SelectType", "this one")
    why = f"every SLURM has --gres, --gpus-per-node needs select/cons_tres (here {plugin})"
    return Line("gpu_request", "gres", why)


def _gpu_type(main: Partition, shape: NodeShape | None, shapes: list[NodeShape]) -> Line:
    """The type of GPU. Some sites refuse jobs that do not name it, and partitions may mix types."""
    gpu_type = ""
    if shape:
        gpu_type, _ = main_gpu(shape)
    if not is_word(gpu_type):
        return Line("gpu_type", "h100", "SLURM knows no types of GPUs here", "unneeded")
    types: set[str] = set()
    for other in shapes:
        types.update(other.gpus)
    why = "scontrol show node: Gres; jobs may name it, and on some sites they must"
    other_types = sorted(types - {gpu_type, ""})
    if other_types:
        why = f"{why}; {main.name} has {', '.join(other_types)} too"
    return Line("gpu_type", gpu_type, why)


def _gpu_vendor(shape: NodeShape | None) -> Line:
    """Who makes the GPUs, where SLURM's type of them is the name of one of AMD's."""
    gpu_type = main_gpu(shape)[0] if shape else ""
    if is_amd(gpu_type):
        return Line("gpu_vendor", "amd", f"scontrol show node: Gres says {gpu_type}, one of AMD's")
    return Line("gpu_vendor", "amd", "only for GPUs of AMD; ls /dev/kfd on a node", "unneeded")


def _memory_request(rules: dict[str, str], shape: NodeShape | None) -> Line:
    """Whether a job must ask for memory.

    Source: https://slurm.schedmd.com/slurm.conf.html, SelectTypeParameters, DefMemPerCPU and
    JobDefaults.
    """
    resources = rules.get("SelectTypeParameters", "not set")
    if shape is None or "SelectType" not in rules:
        why = "see whether the site's examples have --mem"
        return Line("memory_request", "mem", why, "unknown")
    if "MEMORY" not in resources.upper():
        why = f"SelectTypeParameters is {resources}: SLURM does not count memory"
        return _memory_line("none", why)
    job_defaults = dict(re.findall(r"(\w+)=(\d+)", rules.get("JobDefaults", "")))
    _, gpus = main_gpu(shape)
    by_gpu = _with_default(shape, "DefMemPerGPU", job_defaults.get("DefMemPerGPU"), gpus)
    by_cpu = _with_default(shape, "DefMemPerCPU", rules.get("DefMemPerCPU"), shape.cpus)
    by_default = by_gpu or by_cpu
    if by_default:
        return by_default
    default_mb = rules.get("DefMemPerNode")
    if default_mb:
        why = f"DefMemPerNode is {default_mb} MB, however small the job is"
        return _memory_line("mem", why)
    why = (
        f"SelectTypeParameters is {resources}: a job that does not ask gets all of a node's memory"
    )
    return _memory_line("mem", why)


def _with_default(shape: NodeShape, rule: str, default_mb: str | None, units: int) -> Line | None:
    """Whether enough memory comes with all CPUs or GPUs of a node; None if the rule is not set."""
    if not default_mb or not default_mb.isdigit() or not units:
        return None
    total_mb = int(default_mb) * units
    what = f"{rule} is {default_mb} MB"
    if total_mb >= _ENOUGH_MEMORY * shape.memory_mb:
        unit = rule.removeprefix("DefMemPer")
        return _memory_line("none", f"{what}: enough memory comes with the {unit}s")
    share = f"{total_mb // 1024} of a node's {shape.memory_mb // 1024} GB"
    return _memory_line("mem", f"{what}: {share}")


def _memory_line(value: str, why: str) -> Line:
    return Line("memory_request", value, f"scontrol show config: {why}")


def _architecture(shape: NodeShape | None) -> Line:
    if shape is None or not shape.architecture:
        return Line("architecture", "x86_64", "srun uname -m says it", "unknown")
    return Line("architecture", shape.architecture, "scontrol show node: Arch")


def _requeue(config: dict[str, str]) -> Line:
    requeue = config.get("JobRequeue")
    if requeue == "1":
        return Line("requeue", True, "scontrol show config: JobRequeue is 1, they may be")
    if requeue == "0":
        why = "jobs are not requeued by default; see whether the site lets them be"
        return Line("requeue", False, f"scontrol show config: JobRequeue is 0, {why}")
    return Line("requeue", True, "see the site's documentation", "unknown")


def _signal_lead(config: dict[str, str]) -> Line:
    kill_wait = config.get("KillWait", "a while")
    why = f"KillWait leaves {kill_wait} at the limit, too short to save"
    return Line("signal_lead_s", 180, f"scontrol show config: {why}: SLURM warns this long before")


def _scratch(config: dict[str, str]) -> Line:
    folder = config.get("TmpFS", "")
    if re.fullmatch("/(?!tmp$)[^%]+", folder):
        return Line("scratch", folder, "scontrol show config: TmpFS", "guess")
    why = "its /tmp is used; or $TMPDIR, if srun printenv TMPDIR names a folder of the job"
    return Line("scratch", "$TMPDIR", why, "unneeded")
