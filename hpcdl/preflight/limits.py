"""What the site allows: the account, the partition, the QoS and the time."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpcdl.job import format_time
from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.site_rules import (
    associations_of,
    choices,
    names_in,
    names_of,
    partitions_of,
    qos_of,
    similar,
)
from hpcdl.scheduler import rights
from hpcdl.scheduler.site import Partition, Site


def account(subject: Subject) -> Iterator[Finding]:
    """The account is one that the user may use."""
    site, named = subject.slurm_site, subject.cluster.account
    if site.associations is None:
        return
    own = rights.my_accounts(site)
    if not own:
        message = "you have no account on this cluster"
        yield Finding(message, "ask the site for one", "cluster", "account")
    elif named is not None and not rights.is_one_of(named, own):
        message = f"you have no account {named}{similar(named, own)}"
        fix = f"use one of yours: --set cluster.account={choices(own)}"
        yield Finding(message, fix, "profile", "account")


def partition(subject: Subject) -> Iterator[Finding]:
    """The partition exists, is up, and takes this user, account and QoS."""
    site, cluster = subject.slurm_site, subject.cluster
    names = names_of(site.partitions)
    fix = f"use one of: --set cluster.partition={choices(names)}"
    for name in names_in(cluster.partition):
        if name not in names:
            message = f"there is no partition {name}{similar(name, names)}"
            yield Finding(message, fix, "profile", "partition")
    partitions = partitions_of(subject)
    if not partitions and not cluster.partition:
        message = "the profile names no partition, and this cluster has no default one"
        yield Finding(message, fix, "profile", "partition")
    if partitions and not any(partition.up for partition in partitions):
        message = f"partition {choices(names_of(partitions))} is not up"
        fix = "wait, or use another partition"
        yield Finding(message, fix, "cluster", "partition", blocks=False)
    yield from _closed(subject, partitions)


def _closed(subject: Subject, partitions: list[Partition]) -> Iterator[Finding]:
    """Partitions that do not take the job. It cannot run if none of its partitions takes it."""
    site, cluster = subject.slurm_site, subject.cluster
    barriers = {}
    for partition in partitions:
        of_partition = rights.barriers(site, partition, cluster.account, cluster.qos)
        barriers[partition.name] = list(of_partition)
    all_refuse = all(barriers.values())
    for name, reasons in barriers.items():
        for barrier in reasons:
            allowed = barrier.choices
            if barrier.key == "partition" and not allowed:
                allowed = tuple(_open_partitions(site))
            fix = "use another, or ask the site"
            if allowed:
                fix = f"use one of: --set cluster.{barrier.key}={choices(allowed)}"
            certain = barrier.key != "account" or not _takes_subaccounts(site)
            message = f"partition {name} {barrier.message}"
            yield Finding(message, fix, "profile", barrier.key, blocks=all_refuse and certain)


def _open_partitions(site: Site) -> list[str]:
    return [partition.name for partition in site.partitions if rights.ways_in(site, partition)]


def _takes_subaccounts(site: Site) -> bool:
    """Whether AllowAccounts includes the accounts below the named ones, as in newer SLURMs.

    Source: https://slurm.schedmd.com/scontrol.html, AllowAccounts. SLURM's own test of the script
    knows the tree of accounts, so an account that is not named is not refused here.
    """
    numbers = re.match(r"(\d+)\.(\d+)", site.config.get("SLURM_VERSION", ""))
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= (24, 5)


def qos(subject: Subject) -> Iterator[Finding]:
    """The QoS exists, and the user may use it with this account in this partition."""
    site, cluster = subject.slurm_site, subject.cluster
    if site.associations is None or site.qos is None or cluster.qos is None:
        return
    names = names_of(site.qos)
    allowed = rights.allowed_qos(associations_of(subject))
    if rights.qos_by_name(site, cluster.qos) is None:
        message = f"there is no QoS {cluster.qos}{similar(cluster.qos, allowed or names)}"
    elif allowed and not rights.is_one_of(cluster.qos, allowed):
        message = f"account {cluster.account or '(your default)'} may not use QoS {cluster.qos}"
    else:
        return
    fix = f"use one of: --set cluster.qos={choices(allowed or names)}"
    yield Finding(message, fix, "profile", "qos")


def time_limit(subject: Subject) -> Iterator[Finding]:
    """The time is within the limits of QoS, account and partition.

    sbatch may accept a longer job. It then waits in the queue for ever.
    """
    yield from _stop_margin(subject)  # first, because it needs no answer from SLURM
    time_limit_s = subject.plan.size.time_limit_s
    for holder, limit_s in _time_limits(subject):
        if time_limit_s <= limit_s:
            continue
        limit = format_time(limit_s)
        message = f"resources.time is {format_time(time_limit_s)}, but {holder} allows {limit}"
        fix = f"ask for less: --set resources.time={limit}"
        others = _longer_qos(subject, time_limit_s)
        if others and _may_use_other_qos(subject, holder):
            fix = f"use --set cluster.qos={choices(others)}, or {fix}"
        yield Finding(message, fix, "job", "resources.time")


def _time_limits(subject: Subject) -> Iterator[tuple[str, int]]:
    """The limits that hold for the job: whose it is, and the longest time in seconds."""
    binding_qos, associations = qos_of(subject), associations_of(subject)
    limits = [(f"QoS {qos.name}", qos.max_wall_s) for qos in binding_qos]
    accounts = sorted({association.account for association in associations})
    limits.append((f"account {choices(accounts)}", rights.longest_s(associations)))
    for holder, limit_s in limits:
        if limit_s is not None:
            yield holder, limit_s
            break  # SLURM takes the first one that is set
    if any("PartitionTimeLimit" in qos.flags for qos in binding_qos):
        return  # such a QoS replaces the limits of partitions
    partitions = partitions_of(subject)
    longest_s = [partition.max_time_s or 0 for partition in partitions]
    if partitions and all(partition.max_time_s is not None for partition in partitions):
        longest = partitions[longest_s.index(max(longest_s))]
        yield f"partition {longest.name}", max(longest_s)


def _may_use_other_qos(subject: Subject, holder: str) -> bool:
    """Whether another QoS may help: not if the limit is an account's or the partition's own."""
    partitions = partitions_of(subject)
    own_qos = partitions[0].own_qos if partitions else None
    return holder.startswith("QoS") and holder != f"QoS {own_qos}"


def _longer_qos(subject: Subject, time_limit_s: int) -> list[str]:
    """The QoS that the user may use and that allow this time."""
    allowed = rights.allowed_qos(associations_of(subject))
    names = []
    for qos in subject.slurm_site.qos or ():
        limit_s = qos.max_wall_s or time_limit_s
        if rights.is_one_of(qos.name, allowed) and limit_s >= time_limit_s:
            names.append(qos.name)
    return names


def _stop_margin(subject: Subject) -> Iterator[Finding]:
    """The program has some time before it is asked to save and stop.

    SLURM rounds a time limit up to whole minutes.
    """
    plan = subject.plan
    limit_s = -(-plan.size.time_limit_s // 60) * 60
    if limit_s > plan.policy.stop_margin_s:
        return
    margin = f"stop_margin_s is {plan.policy.stop_margin_s}"
    cause = (
        f"resources.time is {format_time(plan.size.time_limit_s)} and {margin}: "
        "the program is asked to save and stop as soon as it starts"
    )
    more = f"--set resources.time={format_time(limit_s + plan.policy.stop_margin_s)}"
    later = f"--set cluster.stop_margin_s={limit_s // 6}"
    fix = f"ask for more: {more}, or stop later: {later}"
    # A script may end before that, or it may not look for the request.
    yield Finding(cause, fix, "job", "resources.time", blocks=plan.program.keeps_state)
