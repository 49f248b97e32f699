"""Asks SLURM (scontrol, sacctmgr) what its site has and allows its user; remembers the answer."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import asdict, replace

from hpcdl import cache
from hpcdl.environment import user_name
from hpcdl.errors import SchedulerError
from hpcdl.scheduler import clusters, command
from hpcdl.scheduler.site import ASSOCIATION_JOBS, CONFIG, QOS_JOBS, Association, Qos, Site
from hpcdl.scheduler.site_records import (
    alike,
    association_of,
    partition_of,
    qos_of,
    read_config,
    read_records,
    set_keys,
)

_CACHE = "slurm-site.json"
REMEMBERED_S = 600.0  # limits change rarely, and sacctmgr takes a third of a second each time


def read_site() -> Site:
    """Ask SLURM, or take its answer of the last minutes.

    Raises:
        SchedulerError: SLURM did not answer.
    """
    import msgspec

    answer = cache.load(_CACHE)
    if answer.get("of") == _whose() and _is_young(answer.get("time")):
        try:
            return msgspec.convert(answer.get("site"), Site)
        except msgspec.ValidationError:
            pass  # another version of hpcdl wrote it
    site = _ask()
    cache.store(_CACHE, {"of": _whose(), "time": time.time(), "site": asdict(site)})
    return site


def forget() -> None:
    """Ask again the next time: what was refused may be allowed by then."""
    cache.forget(_CACHE)


def _is_young(asked: object) -> bool:
    return isinstance(asked, (int, float)) and 0 <= time.time() - asked < REMEMBERED_S


def _whose() -> list[str]:
    """For whom an answer is: one home may serve several clusters, and so may one login node."""
    names = [user_name(), socket.gethostname(), os.environ.get("SLURM_CONF", "")]
    return [*names, clusters.asked()]


def _ask() -> Site:
    """Ask SLURM.

    Raises:
        SchedulerError: scontrol did not answer.
    """
    partitions = []
    for record in read_records(command.call(["scontrol", "show", "partition", "--oneliner"])):
        partitions.append(partition_of(record))
    nodes = alike(read_records(command.call(["scontrol", "show", "node", "--oneliner"])))
    config = read_config(command.call(["scontrol", "show", "config"]))
    site = Site(tuple(partitions), nodes, config=set_keys(config, CONFIG))
    enforced = set(config.get("AccountingStorageEnforce", "").lower().split(","))
    if not enforced & {"associations", "limits", "qos", "safe", "all"}:
        return site
    try:
        every_qos, associations = _ask_accounting(config.get("ClusterName", ""))
    except SchedulerError:
        return site
    if not enforced & {"limits", "safe", "all"}:
        every_qos = [Qos(qos.name) for qos in every_qos]
        associations = [replace(own, max_wall_s=None, jobs={}) for own in associations]
    return replace(site, qos=tuple(every_qos), associations=tuple(associations))


def _ask_accounting(cluster: str) -> tuple[list[Qos], list[Association]]:
    """All QoS, and the user's own associations on one cluster.

    Raises:
        SchedulerError: sacctmgr did not answer.
    """
    show = ["sacctmgr", "--noheader", "--parsable2", "show"]
    mine = ["user", user_name(), "withassoc", f"cluster={cluster}"]
    qos_keys = ",".join(("Name,MaxWall,MaxTRES,MaxTRESPU,GrpTRES,Flags", *QOS_JOBS))
    qos_text = command.call([*show, "qos", f"format={qos_keys}"])
    keys = ",".join(("Account,QOS,DefaultQOS,Partition,MaxWall,DefaultAccount", *ASSOCIATION_JOBS))
    associations_text = command.call([*show, *mine, f"format={keys}"])
    every_qos = [qos_of(line) for line in qos_text.splitlines() if line]
    associations = []
    for line in associations_text.splitlines():
        if line.partition("|")[0]:  # a user of other clusters only has a line without an account
            associations.append(association_of(line))
    return every_qos, associations
