"""What a user may use of a site, by SLURM's rules, and whose limits bind a job.

slurmdbd keeps the names of accounts, QoS and users in lower case, so case does not count there.
The names of partitions are compared as they are written.

Sources: https://slurm.schedmd.com/slurm.conf.html (AllowAccounts, DenyAccounts, AllowGroups),
https://slurm.schedmd.com/sacctmgr.html (associations),
https://slurm.schedmd.com/resource_limits.html.
"""

from __future__ import annotations

import getpass
import grp
import os
import pwd
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from hpcdl.scheduler.site import Association, Partition, Qos, Site


@dataclass(frozen=True)
class Barrier:
    """Why a partition does not take a job.

    Args:
        key: the profile's key that could change it.
        message: what the partition does not take.
        choices: the values of the key that it takes; empty if they are not known.
    """

    key: str
    message: str
    choices: tuple[str, ...] = ()


def is_one_of(name: str, names: Collection[str]) -> bool:
    """Whether an account or a QoS is among these, in upper or lower case."""
    return any(name.lower() == other.lower() for other in names)


def my_accounts(site: Site) -> list[str]:
    """The accounts that the user may name, in alphabetical order."""
    return sorted({association.account for association in site.associations or ()})


def default_account(site: Site) -> str | None:
    """The account of a job that names none; None if SLURM does not tell."""
    defaults = set()
    for association in site.associations or ():
        if association.default_account:
            defaults.add(association.default_account)
    accounts = list(defaults) or my_accounts(site)
    return accounts[0] if len(accounts) == 1 else None


def binding(site: Site, account: str | None, partitions: Sequence[str] = ()) -> list[Association]:
    """The associations that bind a job: those of its partition, else those of no partition.

    An association has a user, an account and perhaps a partition. Limits of other partitions do
    not count.

    Args:
        site: SLURM's answers.
        account: the job's account, or None for the user's default one.
        partitions: the names of the partitions that the job may go to.
    """
    payer = account or default_account(site)
    by_partition: dict[str, list[Association]] = {}
    for association in site.associations or ():
        if payer is None or is_one_of(association.account, [payer]):
            key = (association.partition or "").lower()
            by_partition.setdefault(key, []).append(association)
    general = by_partition.get("", [])
    chosen: list[Association] = []
    for name in partitions:
        chosen += by_partition.get(name.lower(), general)
    if not partitions:
        chosen = general or list(chain(*by_partition.values()))
    return sorted(set(chosen), key=lambda each: (each.account, each.partition or ""))


def partitions_of(site: Site, names: Sequence[str]) -> list[Partition]:
    """The partitions that a job may go to: those that it names, or else the default one."""
    partitions = []
    for partition in site.partitions:
        if partition.name in names or (partition.default and not names):
            partitions.append(partition)
    return partitions


def binding_qos(
    site: Site,
    name: str | None,
    associations: Sequence[Association],
    partitions: Sequence[Partition],
) -> list[Qos]:
    """The QoS whose limits hold for a job, the most important one first.

    That is the partition's QoS, then the job's or the default one.
    Source of the order: https://slurm.schedmd.com/resource_limits.html, "Hierarchy".

    Args:
        site: SLURM's answers.
        name: the job's QoS, or None for the default one.
        associations: those that bind the job.
        partitions: those that the job may go to.
    """
    bound: list[Qos] = []
    own_names = {partition.own_qos for partition in partitions}
    if len(own_names) == 1:
        partition_qos = qos_by_name(site, own_names.pop())
        if partition_qos is not None:
            bound.append(partition_qos)
    job_qos = qos_by_name(site, name or default_qos(associations))
    if job_qos is not None and job_qos not in bound:
        position = 0 if "OverPartQOS" in job_qos.flags else len(bound)
        bound.insert(position, job_qos)
    return bound


def allowed_qos(associations: Sequence[Association]) -> list[str]:
    """The QoS that any of these associations may use."""
    names: set[str] = set()
    for association in associations:
        names.update(association.qos)
    return sorted(names)


def default_qos(associations: Sequence[Association]) -> str | None:
    """The QoS of a job that names none; None if these associations do not agree."""
    names = set()
    for association in associations:
        if association.default_qos:
            names.add(association.default_qos)
        elif len(association.qos) == 1:
            names.add(association.qos[0])
        else:
            names.add("normal")
    return names.pop() if len(names) == 1 else None


def longest_s(associations: Sequence[Association]) -> int | None:
    """The longest job that any of these associations allows, in seconds; None for no limit."""
    longest = 0
    for association in associations:
        if association.max_wall_s is None:
            return None
        longest = max(longest, association.max_wall_s)
    return longest if associations else None


def barriers(
    site: Site,
    partition: Partition,
    account: str | None,
    qos: str | None,
) -> Iterator[Barrier]:
    """Why a partition does not take a job of this user; nothing if it does, or nobody knows.

    Args:
        site: SLURM's answers.
        partition: the partition.
        account: the account that is named, or None for the default one.
        qos: the QoS that is named, or None for the default one.
    """
    if partition.root_only:
        yield Barrier("partition", "is for administrators only (RootOnly)")
    if partition.groups and not set(partition.groups) & my_groups():
        groups = ", ".join(partition.groups)
        yield Barrier("partition", f"is for members of the group {groups} only (AllowGroups)")
    payer = account or default_account(site)
    associations = binding(site, payer, [partition.name])
    is_mine = payer is not None and is_one_of(payer, my_accounts(site))
    if payer and is_mine and not associations:
        others = sorted({other.partition or "" for other in binding(site, payer)})
        message = f"is not open to account {payer}, which may use {', '.join(others)}"
        yield Barrier("partition", message, tuple(others))
    if payer and _refuses(payer, partition.accounts, partition.denied_accounts):
        which = "" if account else "your default "
        message = f"does not take {which}account {payer}"
        yield Barrier("account", message, partition.accounts)
    used = qos or default_qos(associations)
    if used and _refuses(used, partition.qos, partition.denied_qos):
        which = "" if qos else "your default "
        yield Barrier("qos", f"does not take {which}qos {used}", partition.qos)


def _refuses(name: str, allowed: Collection[str], denied: Collection[str]) -> bool:
    """SLURM looks at the denied names only if all are allowed."""
    if allowed:
        return not is_one_of(name, allowed)
    return is_one_of(name, denied)


def ways_in(site: Site, partition: Partition) -> list[tuple[str | None, str | None]]:
    """The pairs of account and QoS with which this user can send jobs there, defaults first.

    A pair of None stands for a site that tells no accounts.
    """
    if not partition.up:
        return []
    first = default_account(site)
    accounts = sorted(my_accounts(site), key=lambda name: (name != first, name))
    pairs: list[tuple[str | None, str | None]] = []
    if not site.associations:
        pairs.append((None, None))
    for account in accounts:
        names: list[str | None] = [None]  # the default one, which need not be named
        names += allowed_qos(binding(site, account, [partition.name]))
        for name in names:
            pairs.append((account, name))
    return [pair for pair in pairs if not list(barriers(site, partition, *pair))]


def qos_by_name(site: Site, name: str | None) -> Qos | None:
    """The QoS of this name, in upper or lower case."""
    for qos in site.qos or ():
        if name is not None and qos.name.lower() == name.lower():
            return qos
    return None


def my_groups() -> set[str]:
    """The names of the groups that the user is a member of."""
    names = set()
    with suppress(KeyError, OSError):  # a user that this machine does not know
        user = pwd.getpwnam(getpass.getuser())
        for number in os.getgrouplist(user.pw_name, user.pw_gid):
            with suppress(KeyError):
                names.add(grp.getgrgid(number).gr_name)
    return names
