"""What the site allows: account, QoS, partition, time, size; SLURM's own test of the script comes last."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime

from hpcdl.job import format_time
from hpcdl.job.walker import did_you_mean
from hpcdl.preflight import Finding, Note, Subject
from hpcdl.scheduler.site import Association, NodeShape, Partition, Qos, RefusedError, Site, try_script

_WORDS = {
    "cpu": ("CPUs", "resources.cpus"),
    "gres/gpu": ("GPUs", "resources.gpus"),
    "mem": ("MB", "resources.memory_gb"),
    "node": ("nodes", "resources.nodes"),
}


def account(subject: Subject) -> Iterator[Finding]:
    """The account is one that the user may use."""
    site, given = subject.site, subject.cluster.account
    if site.associations is None:
        return
    mine = sorted({row.account for row in site.associations})
    fix = f"use one of yours: --set cluster.account={_one_of(mine)}"
    if not mine:
        fix = "ask the site for one"
        yield Finding("you have no account on this cluster", fix, "cluster", "account")
    elif given is not None and given not in mine:
        yield Finding(f"you have no account {given}{did_you_mean(given, mine, also='')}", fix, "profile", "account")


def partition(subject: Subject) -> Iterator[Finding]:
    """The partition is there, is up, and takes this account and QoS."""
    site, cluster = subject.site, subject.cluster
    known = [row.name for row in site.partitions]
    fix = f"use one of: --set cluster.partition={_one_of(known)}"
    for name in _named(cluster.partition):
        if name not in known:
            wrong = f"there is no partition {name}{did_you_mean(name, known, also='')}"
            yield Finding(wrong, fix, "profile", "partition")
    chosen = _partitions(site, cluster.partition)
    if not chosen and not cluster.partition:
        wrong = "the profile names no partition, and this cluster has no default one"
        yield Finding(wrong, fix, "profile", "partition")
    if chosen and not any(row.up for row in chosen):
        wrong = f"partition {_one_of(row.name for row in chosen)} is not up"
        yield Finding(wrong, "wait, or use another partition", "cluster", "partition", blocks=False)
    for row in chosen:
        for key, given, allowed in (("account", cluster.account, row.accounts), ("qos", cluster.qos, row.qos)):
            if given and allowed and given not in allowed:
                fix = f"use one of: --set cluster.{key}={_one_of(allowed)}"
                yield Finding(f"partition {row.name} does not take {key} {given}", fix, "profile", key)


def qos(subject: Subject) -> Iterator[Finding]:
    """The QoS is there, and the user may use it with this account."""
    site, cluster = subject.site, subject.cluster
    if site.associations is None or site.qos is None or cluster.qos is None:
        return
    known = [row.name for row in site.qos]
    mine = _allowed(site, cluster.account)
    if cluster.qos not in known:
        wrong = f"there is no QoS {cluster.qos}{did_you_mean(cluster.qos, mine or known, also='')}"
    elif mine and cluster.qos not in mine:
        wrong = f"account {cluster.account or '(your default)'} may not use QoS {cluster.qos}"
    else:
        return
    yield Finding(wrong, f"use one of: --set cluster.qos={_one_of(mine or known)}", "profile", "qos")


def time_limit(subject: Subject) -> Iterator[Finding]:
    """The time is within the limits of QoS, account and partition: sbatch takes more, and the job waits for ever."""
    yield from _stop_margin(subject)  # first: it needs no answer of SLURM's
    site, cluster, asked_s = subject.site, subject.cluster, subject.submission.plan.time_limit_s
    chosen, rules = _partitions(site, cluster.partition), _rules(site, cluster.partition, cluster.qos, cluster.account)
    limits = [(f"QoS {row.name}", row.max_wall_s) for row in rules]
    limits += [(f"account {row.account}", row.max_wall_s) for row in _associations(site, cluster.account)[:1]]
    decisive = [limit for limit in limits if limit[1] is not None][:1]  # SLURM takes the first that is set
    overrides = any("PartitionTimeLimit" in row.flags for row in rules)
    if chosen and not overrides and all(row.max_time_s is not None for row in chosen):
        longest = max(chosen, key=lambda row: row.max_time_s or 0)
        decisive.append((f"partition {longest.name}", longest.max_time_s))
    for who, most_s in decisive:
        if most_s is not None and asked_s > most_s:
            fix = f"ask for less: --set resources.time={format_time(most_s)}"
            mine = _allowed(site, cluster.account)
            other = [r.name for r in site.qos or () if r.name in mine and (r.max_wall_s or asked_s) >= asked_s]
            if other and who.startswith("QoS") and who != f"QoS {chosen[0].own_qos if chosen else None}":
                fix = f"use --set cluster.qos={_one_of(other)}, or {fix}"
            wrong = f"resources.time is {format_time(asked_s)}, but {who} allows {format_time(most_s)}"
            yield Finding(wrong, fix, "job", "resources.time")


def size(subject: Subject) -> Iterator[Finding]:
    """One node of the partition has the CPUs, the GPUs and the memory, and the QoS lets one job have them."""
    site, cluster, decided = subject.site, subject.cluster, subject.submission.plan
    chosen = {row.name for row in _partitions(site, cluster.partition)}
    nodes = [row for row in site.nodes if not chosen or not row.partitions or chosen & set(row.partitions)]
    memory_mb = int((decided.memory_gb or 0) * 1024) if cluster.memory_request != "none" else 0
    asked = {"cpu": decided.cpus, "gres/gpu": decided.gpus, "mem": memory_mb}
    fitting = [row for row in nodes if _fits(row, asked, cluster.gpu_type)]
    if nodes and not fitting:
        yield from _too_large(nodes, asked, cluster.gpu_type)
    elif fitting and not any(row.up for row in fitting):
        wrong = f"the nodes that are large enough are out of service ({_one_of(n for r in fitting for n in r.names)})"
        yield Finding(wrong, "the job would wait for them; see sinfo -R", "cluster", blocks=False)
    seen: set[str] = set()
    for row in _rules(site, cluster.partition, cluster.qos, cluster.account):
        for name, most in row.most.items():
            if name not in seen and asked.get(name, 0) > most:
                what, key = _WORDS[name]
                wrong = f"{asked[name]} {what} are asked for, but QoS {row.name} allows {most}"
                yield Finding(wrong, f"ask for less: {key}, or use another QoS", "job", key)
            seen.add(name)  # SLURM takes the first that is set


def _stop_margin(subject: Subject) -> Iterator[Finding]:
    """There is time between the start and the request to save and stop.

    SLURM counts a time limit in whole minutes, begun ones too.
    """
    plan = subject.submission.plan
    limit_s = -(-plan.time_limit_s // 60) * 60
    if limit_s > plan.stop_margin_s:
        return
    margin = f"stop_margin_s is {plan.stop_margin_s}"
    cause = (
        f"resources.time is {format_time(plan.time_limit_s)} and {margin}: "
        "the program is asked to save and stop as soon as it starts"
    )
    enough = format_time(limit_s + plan.stop_margin_s)
    fix = f"ask for more: --set resources.time={enough}, or stop later: --set cluster.stop_margin_s={limit_s // 6}"
    # A script may well end by itself before, or not look for the request at all.
    yield Finding(cause, fix, "job", "resources.time", blocks=plan.script is None)


def trial(subject: Subject) -> Iterator[Finding | Note]:
    """SLURM itself would take exactly this script (``sbatch --test-only``), and when it would start."""
    _ = subject.site  # one that does not answer need not be asked again
    try:
        told = try_script(subject.submission.script or "")
    except RefusedError as error:
        yield Finding(f"SLURM refuses it: {error}", "read what would be sent: hpcdl submit --dry-run", "cluster")
        return
    match = re.search(r"to start at (\d+-\d+-\d+T\d+:\d+:\d+)", told)
    if match:
        yield Note(would_start(datetime.fromisoformat(match[1]), datetime.now()))


def would_start(start: datetime, now: datetime) -> str:
    """SLURM's estimate for people; both times are local."""
    minutes = max(0, round((start - now).total_seconds() / 60))
    if minutes < 1:
        return "would start now"
    hours, rest = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    wait = f"{days} d {hours_left} h" if days else f"{hours} h {rest} min" if hours else f"{minutes} min"
    day = "" if start.date() == now.date() else f"{start:%Y-%m-%d} "
    return f"would start about {day}{start:%H:%M}, in {wait} (SLURM's estimate)"


def _fits(node: NodeShape, asked: dict[str, int], gpu_type: str | None) -> bool:
    return node.cpus >= asked["cpu"] and _gpus(node, gpu_type) >= asked["gres/gpu"] and node.memory_mb >= asked["mem"]


def _gpus(node: NodeShape, gpu_type: str | None) -> int:
    return node.gpus.get(gpu_type, 0) if gpu_type else sum(node.gpus.values())


def _too_large(nodes: list[NodeShape], asked: dict[str, int], gpu_type: str | None) -> Iterator[Finding]:
    """What no node has; where each alone is to be had, the sum of it."""
    most = {
        "cpu": max(node.cpus for node in nodes),
        "gres/gpu": max(_gpus(node, gpu_type) for node in nodes),
        "mem": max(node.memory_mb for node in nodes),
    }
    alone = [name for name in asked if asked[name] > most[name]]
    for name in alone:
        what, key = _WORDS[name]
        source, fix = "job", f"ask for at most {most[name]}: {key}"
        if name == "gres/gpu" and gpu_type:
            what = f"{what} of type {gpu_type}"
            if not most[name]:
                types = sorted({kind for node in nodes for kind in node.gpus if kind})
                fix = f"use one of: --set cluster.gpu_type={_one_of(types)}" if types else "leave gpu_type out"
                source, key = "profile", "gpu_type"
        wrong = f"{asked[name]} {what} are asked for, but no node here has more than {most[name]}"
        yield Finding(wrong, fix, source, key)
    if not alone:
        shapes = sorted({f"{n.cpus} CPUs, {sum(n.gpus.values())} GPUs, {n.memory_mb} MB" for n in nodes})
        words = f"{asked['cpu']} CPUs, {asked['gres/gpu']} GPUs and {asked['mem']} MB"
        yield Finding(f"no node has {words} together", f"the nodes here have: {'; '.join(shapes)}", "job", "resources")


def _named(names: str | None) -> list[str]:
    return names.split(",") if names else []


def _partitions(site: Site, names: str | None) -> list[Partition]:
    """Those that the job may go to: the ones that are named, else the default one."""
    return [row for row in site.partitions if (row.name in _named(names) if names else row.default)]


def _associations(site: Site, name: str | None) -> list[Association]:
    return [row for row in site.associations or () if name is None or row.account == name]


def _allowed(site: Site, account_name: str | None) -> list[str]:
    return sorted({name for row in _associations(site, account_name) for name in row.qos})


def _rules(site: Site, partitions: str | None, name: str | None, account_name: str | None) -> list[Qos]:
    """The QoS that bind the job, the one that decides first: the partition's own, then the job's or the default one.

    Source of the order: https://slurm.schedmd.com/resource_limits.html, "Hierarchy".
    """
    known = {row.name: row for row in site.qos or ()}
    default = next((row.default_qos for row in _associations(site, account_name) if row.default_qos), None)
    own = {row.own_qos for row in _partitions(site, partitions)}
    its = known.get(name or default or "normal")
    rules = [known[key] for key in own if key in known] if len(own) == 1 else []
    if its is not None:
        rules.insert(0 if "OverPartQOS" in its.flags else len(rules), its)
    return rules


def _one_of(names: Iterable[str]) -> str:
    return "|".join(names) or "(none)"
