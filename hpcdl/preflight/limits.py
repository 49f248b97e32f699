"""What the site allows: account, QoS, partition, time, size; SLURM's own test of the script comes last."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from difflib import get_close_matches

from hpcdl.job import format_time
from hpcdl.preflight import Finding, Note, Subject
from hpcdl.scheduler import rights
from hpcdl.scheduler.clusters import on_cluster
from hpcdl.scheduler.site import (
    Association,
    NodeShape,
    Partition,
    Qos,
    RefusedError,
    Site,
    try_script,
)

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
    mine = rights.my_accounts(site)
    fix = f"use one of yours: --set cluster.account={_one_of(mine)}"
    if not mine:
        fix = "ask the site for one"
        yield Finding("you have no account on this cluster", fix, "cluster", "account")
    elif given is not None and not rights.is_one_of(given, mine):
        message = f"you have no account {given}{_close(given, mine)}"
        yield Finding(message, fix, "profile", "account")


def partition(subject: Subject) -> Iterator[Finding]:
    """The partition is there, is up, and takes this user, account and QoS."""
    site, cluster = subject.site, subject.cluster
    known = [row.name for row in site.partitions]
    fix = f"use one of: --set cluster.partition={_one_of(known)}"
    for name in _named(cluster.partition):
        if name not in known:
            message = f"there is no partition {name}{_close(name, known)}"
            yield Finding(message, fix, "profile", "partition")
    chosen = _partitions(site, cluster.partition)
    if not chosen and not cluster.partition:
        message = "the profile names no partition, and this cluster has no default one"
        yield Finding(message, fix, "profile", "partition")
    if chosen and not any(row.up for row in chosen):
        message = f"partition {_one_of(row.name for row in chosen)} is not up"
        fix = "wait, or use another partition"
        yield Finding(message, fix, "cluster", "partition", blocks=False)
    yield from _closed(subject, chosen)


def _closed(subject: Subject, chosen: list[Partition]) -> Iterator[Finding]:
    """Partitions that do not take the job. It stays out of the queue where none of them does."""
    site, cluster = subject.site, subject.cluster
    barriers = {}
    for row in chosen:
        barriers[row.name] = list(rights.barriers(site, row, cluster.account, cluster.qos))
    blocks = all(barriers.values())
    for name, reasons in barriers.items():
        for barrier in reasons:
            choices = barrier.choices
            if barrier.key == "partition":
                choices = choices or tuple(_open_partitions(site))
            fix = "use another, or ask the site"
            if choices:
                fix = f"use one of: --set cluster.{barrier.key}={_one_of(choices)}"
            sure = blocks and not (barrier.key == "account" and _takes_subaccounts(site))
            message = f"partition {name} {barrier.message}"
            yield Finding(message, fix, "profile", barrier.key, blocks=sure)


def _open_partitions(site: Site) -> list[str]:
    return [row.name for row in site.partitions if rights.ways_in(site, row)]


def _takes_subaccounts(site: Site) -> bool:
    """Whether AllowAccounts stands for the accounts below those too, which newer SLURMs do.

    Source: https://slurm.schedmd.com/scontrol.html, AllowAccounts. SLURM's own test of the script
    knows the tree of accounts, so an account that is not named is not refused here.
    """
    numbers = re.match(r"(\d+)\.(\d+)", site.config.get("SLURM_VERSION", ""))
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= (24, 5)


def qos(subject: Subject) -> Iterator[Finding]:
    """The QoS is there, and the user may use it with this account in this partition."""
    site, cluster = subject.site, subject.cluster
    if site.associations is None or site.qos is None or cluster.qos is None:
        return
    known = [row.name for row in site.qos]
    mine = rights.allowed_qos(_binding(subject))
    if rights.qos_by_name(site, cluster.qos) is None:
        message = f"there is no QoS {cluster.qos}{_close(cluster.qos, mine or known)}"
    elif mine and not rights.is_one_of(cluster.qos, mine):
        message = f"account {cluster.account or '(your default)'} may not use QoS {cluster.qos}"
    else:
        return
    fix = f"use one of: --set cluster.qos={_one_of(mine or known)}"
    yield Finding(message, fix, "profile", "qos")


def time_limit(subject: Subject) -> Iterator[Finding]:
    """The time is within the limits of QoS, account and partition.

    sbatch takes more, and the job waits for ever.
    """
    yield from _stop_margin(subject)  # first: it needs no answer of SLURM's
    site, cluster = subject.site, subject.cluster
    asked_s = subject.submission.plan.time_limit_s
    chosen, rules, rows = _partitions(site, cluster.partition), _rules(subject), _binding(subject)
    limits = [(f"QoS {row.name}", row.max_wall_s) for row in rules]
    accounts = sorted({row.account for row in rows})
    limits.append((f"account {_one_of(accounts)}", rights.longest_s(rows)))
    decisive = [limit for limit in limits if limit[1] is not None][
        :1
    ]  # SLURM takes the first that is set
    overrides = any("PartitionTimeLimit" in row.flags for row in rules)
    if chosen and not overrides and all(row.max_time_s is not None for row in chosen):
        longest = max(chosen, key=lambda row: row.max_time_s or 0)
        decisive.append((f"partition {longest.name}", longest.max_time_s))
    for who, most_s in decisive:
        if most_s is not None and asked_s > most_s:
            fix = f"ask for less: --set resources.time={format_time(most_s)}"
            own = chosen[0].own_qos if chosen else None
            other = _longer_qos(subject, asked_s)
            if other and who.startswith("QoS") and who != f"QoS {own}":
                fix = f"use --set cluster.qos={_one_of(other)}, or {fix}"
            message = (
                f"resources.time is {format_time(asked_s)}, but {who} allows {format_time(most_s)}"
            )
            yield Finding(message, fix, "job", "resources.time")


def _longer_qos(subject: Subject, asked_s: int) -> list[str]:
    """The QoS that the user may use and that allow this time."""
    names = rights.allowed_qos(_binding(subject))
    rows = [row for row in subject.site.qos or () if rights.is_one_of(row.name, names)]
    return [row.name for row in rows if (row.max_wall_s or asked_s) >= asked_s]


def size(subject: Subject) -> Iterator[Finding]:
    """One node of the partition has the CPUs, the GPUs and the memory, and the QoS lets one job have them."""
    site, cluster, decided = subject.site, subject.cluster, subject.submission.plan
    nodes = nodes_for(site, cluster.partition)
    memory_mb = int((decided.memory_gb or 0) * 1024) if cluster.memory_request != "none" else 0
    gpus = decided.gpus if decided.gpus_granted else 0  # SLURM counts none there
    asked = {"cpu": decided.cpus, "gres/gpu": gpus, "mem": memory_mb}
    fitting = [row for row in nodes if _fits(row, asked, cluster.gpu_type)]
    if nodes and not fitting:
        yield from _too_large(nodes, asked, cluster.gpu_type)
    elif fitting and not any(row.up for row in fitting):
        wrong = f"the nodes that are large enough are out of service ({_one_of(n for r in fitting for n in r.names)})"
        yield Finding(wrong, "the job would wait for them; see sinfo -R", "cluster", blocks=False)
    if cluster.gpu_type:  # a limit may be of one type alone
        asked[f"gres/gpu:{cluster.gpu_type}"] = gpus
    seen: set[str] = set()
    for row in _rules(subject):
        for name, most in row.most.items():
            if name not in seen and asked.get(name, 0) > most:
                what, key = _WORDS.get(name) or (
                    f"GPUs of type {cluster.gpu_type}",
                    "resources.gpus",
                )
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
        with on_cluster(subject.cluster.clusters):
            told = try_script(subject.submission.script or "")
    except RefusedError as error:
        yield Finding(
            f"SLURM refuses it: {error}",
            "read what would be sent: hpcdl submit --dry-run",
            "cluster",
        )
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
    wait = (
        f"{days} d {hours_left} h"
        if days
        else f"{hours} h {rest} min"
        if hours
        else f"{minutes} min"
    )
    day = "" if start.date() == now.date() else f"{start:%Y-%m-%d} "
    return f"would start about {day}{start:%H:%M}, in {wait} (SLURM's estimate)"


def _fits(node: NodeShape, asked: dict[str, int], gpu_type: str | None) -> bool:
    return (
        node.cpus >= asked["cpu"]
        and _gpus(node, gpu_type) >= asked["gres/gpu"]
        and node.memory_mb >= asked["mem"]
    )


def _gpus(node: NodeShape, gpu_type: str | None) -> int:
    return node.gpus.get(gpu_type, 0) if gpu_type else sum(node.gpus.values())


def _too_large(
    nodes: list[NodeShape], asked: dict[str, int], gpu_type: str | None
) -> Iterator[Finding]:
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
                fix = (
                    f"use one of: --set cluster.gpu_type={_one_of(types)}"
                    if types
                    else "leave gpu_type out"
                )
                source, key = "profile", "gpu_type"
        wrong = f"{asked[name]} {what} are asked for, but no node here has more than {most[name]}"
        yield Finding(wrong, fix, source, key)
    if not alone:
        shapes = sorted(
            {f"{n.cpus} CPUs, {sum(n.gpus.values())} GPUs, {n.memory_mb} MB" for n in nodes}
        )
        words = f"{asked['cpu']} CPUs, {asked['gres/gpu']} GPUs and {asked['mem']} MB"
        yield Finding(
            f"no node has {words} together",
            f"the nodes here have: {'; '.join(shapes)}",
            "job",
            "resources",
        )


def _named(names: str | None) -> list[str]:
    return names.split(",") if names else []


def _partitions(site: Site, names: str | None) -> list[Partition]:
    """Those that the job may go to: the ones that are named, else the default one."""
    return [row for row in site.partitions if (row.name in _named(names) if names else row.default)]


def _binding(subject: Subject) -> list[Association]:
    """The associations that bind the job."""
    site, cluster = subject.site, subject.cluster
    chosen = [row.name for row in _partitions(site, cluster.partition)]
    return rights.binding(site, cluster.account, chosen)


def nodes_for(site: Site, partitions: str | None) -> list[NodeShape]:
    """The nodes that a job of these partitions may get; all nodes where SLURM does not say which."""
    chosen = {row.name for row in _partitions(site, partitions)}
    if not chosen:
        return list(site.nodes)
    return [node for node in site.nodes if not node.partitions or chosen & set(node.partitions)]


def _rules(subject: Subject) -> list[Qos]:
    """The QoS that bind the job, the one that decides first.

    That is the partition's own, then the job's or the default one.
    Source of the order: https://slurm.schedmd.com/resource_limits.html, "Hierarchy".
    """
    site, cluster = subject.site, subject.cluster
    own = {row.own_qos for row in _partitions(site, cluster.partition)}
    rules = []
    if len(own) == 1:
        rules = [row for row in [rights.qos_by_name(site, own.pop())] if row is not None]
    its = rights.qos_by_name(site, cluster.qos or rights.default_qos(_binding(subject)))
    if its is not None and its not in rules:
        rules.insert(0 if "OverPartQOS" in its.flags else len(rules), its)
    return rules


def _close(name: str, known: list[str]) -> str:
    """The closest known name, in whatever case the user wrote it."""
    spelled = {other.lower(): other for other in known}
    if name.lower() in spelled:
        return f"; did you mean {spelled[name.lower()]}?"
    close = get_close_matches(name.lower(), list(spelled), n=1, cutoff=0.6)
    return f"; did you mean {spelled[close[0]]}?" if close else ""


def _one_of(names: Iterable[str]) -> str:
    return "|".join(names) or "(none)"
