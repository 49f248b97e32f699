"""How many tasks of an array a user may submit and run here, and whose limits these are.

Sources: https://slurm.schedmd.com/resource_limits.html (a limit of a QoS replaces that of an
association; the partition's QoS comes first), https://slurm.schedmd.com/slurm.conf.html
(MaxArraySize, MaxJobCount, max_array_tasks). Each task of an array counts as a job.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hpcdl.cluster.schema import Cluster
from hpcdl.environment import user_name
from hpcdl.errors import SchedulerError
from hpcdl.formats import several
from hpcdl.scheduler import command, rights
from hpcdl.scheduler.arrays import ArrayLimits
from hpcdl.scheduler.ask_site import read_site
from hpcdl.scheduler.clusters import on_cluster
from hpcdl.scheduler.site import Association, Qos, Site


@dataclass(frozen=True)
class QueuedTask:
    """A job that waits or runs; a task of an array is one of its own.

    Args:
        user: whose.
        account: its account.
        qos: its QoS.
        partitions: one when it runs; those that it may go to while it waits.
    """

    user: str
    account: str
    qos: str
    partitions: tuple[str, ...]


@dataclass(frozen=True)
class _Limit:
    """A limit that holds for an array.

    Args:
        holder: whose it is: ``QoS debug``.
        key: its name, as sacctmgr, slurm.conf or the profile have it.
        most: the number of tasks.
        queued: how many tasks in the queue count towards it; None for a limit of what may run.
    """

    holder: str
    key: str
    most: int
    queued: int | None = None

    @property
    def left(self) -> int:
        return max(0, self.most - (self.queued or 0))

    def __str__(self) -> str:
        tasks = several(self.most, "task")
        if self.queued is None:
            return f"{self.holder} lets {tasks} run at once ({self.key})"
        rule = f"{self.holder} allows {tasks} in the queue ({self.key})"
        if self.queued:
            return f"{rule}, {self.queued:,} are there"
        return rule


def array_limits(directives: Iterable[tuple[str, str]], cluster: Cluster) -> ArrayLimits:
    """What SLURM and the site allow for an array; what SLURM does not answer is None.

    Args:
        directives: the #SBATCH options of the script, (name, value) each; see `Plan`.
        cluster: the profile.
    """
    options = dict(directives)
    with on_cluster(options.get("clusters")):
        try:
            site = read_site()
        except SchedulerError:
            site = Site()
        return limits_at(site, options, cluster)


def limits_at(site: Site, options: dict[str, str], cluster: Cluster) -> ArrayLimits:
    """The same with SLURM's answers about its site at hand. Only the queue is asked.

    Args:
        site: SLURM's answers.
        options: the #SBATCH options of the script, by name.
        cluster: the profile.
    """
    job = _Job(site, options)
    submit_limits = list(_submit_limits(job, cluster))
    run_limits = list(_run_limits(job))
    max_submitted, submit_rule = _lowest(submit_limits)
    max_running, run_rule = _lowest(run_limits)
    return ArrayLimits(
        max_array_size=_number(site.config.get("MaxArraySize", "")),
        max_submitted=max_submitted,
        max_tasks=_longest_array(site, cluster),
        max_running=max_running,
        submit_rule=submit_rule,
        run_rule=run_rule,
    )


class _Job:
    """What binds a job at a site, and what is in the queue already. The queue is asked once."""

    def __init__(self, site: Site, options: dict[str, str]) -> None:
        partition = options.get("partition", "")
        self.site = site
        self.partitions = rights.partitions_of(site, partition.split(",") if partition else [])
        names = [each.name for each in self.partitions]
        self.associations = rights.binding(site, options.get("account"), names)
        self.account = options.get("account") or rights.default_account(site)
        self.qos = rights.binding_qos(site, options.get("qos"), self.associations, self.partitions)
        self._tasks: dict[bool, list[QueuedTask] | None] = {}

    def queued(self, everybody: bool = False) -> list[QueuedTask] | None:
        """The tasks in the queue, the user's own or everybody's; None without an answer."""
        if everybody not in self._tasks:
            self._tasks[everybody] = read_queue(everybody)
        return self._tasks[everybody]

    def under_qos(self, tasks: Iterable[QueuedTask], qos: Qos) -> list[QueuedTask]:
        """The tasks that a QoS counts: those with it, and those in a partition that has it."""
        of_partitions = set()
        for partition in self.site.partitions:
            if (partition.own_qos or "").lower() == qos.name.lower():
                of_partitions.add(partition.name)
        counted = []
        for task in tasks:
            is_in_partition = bool(of_partitions.intersection(task.partitions))
            if task.qos.lower() == qos.name.lower() or is_in_partition:
                counted.append(task)
        return counted

    def first_qos(self, key: str) -> Qos | None:
        """The QoS whose limit counts: the first one that sets it."""
        for qos in self.qos:
            if key in qos.jobs:
                return qos
        return None


def read_queue(everybody: bool = False) -> list[QueuedTask] | None:
    """All tasks that wait or run: the user's, or everybody's; None if SLURM does not answer."""
    whose = [] if everybody else [f"--user={user_name()}"]
    try:
        text = command.call(["squeue", "--noheader", "--array", *whose, "--format=%u|%a|%q|%P"])
    except SchedulerError:
        return None
    tasks = []
    for line in text.splitlines():
        user, account, qos, partitions = (line.strip().split("|") + [""] * 3)[:4]
        tasks.append(QueuedTask(user, account, qos, tuple(partitions.split(","))))
    return tasks


def _submit_limits(job: _Job, cluster: Cluster) -> Iterator[_Limit]:
    """The limits of what may be in the queue. Those whose count is not known are left out."""
    yield from _qos_submit_limits(job)
    if not job.first_qos("MaxSubmitJobsPU") and not job.first_qos("MaxSubmitJobsPA"):
        yield from _association_limits(job, "MaxSubmitJobs")
    if not job.first_qos("GrpSubmitJobs"):
        yield from _association_limits(job, "GrpSubmitJobs")
    most_jobs = _number(job.site.config.get("MaxJobCount", ""))
    if most_jobs is not None:
        yield _Limit("SLURM", "MaxJobCount", most_jobs, 0)
    if cluster.max_submitted_tasks is not None:
        tasks = job.queued() or []  # the profile's number counts without SLURM's answer, too
        key = "cluster.max_submitted_tasks"
        yield _Limit(f"profile {cluster.name}", key, cluster.max_submitted_tasks, len(tasks))


def _qos_submit_limits(job: _Job) -> Iterator[_Limit]:
    for key in ("MaxSubmitJobsPU", "MaxSubmitJobsPA", "GrpSubmitJobs"):
        qos = job.first_qos(key)
        if qos is None:
            continue
        tasks = job.queued(everybody=key != "MaxSubmitJobsPU")
        if tasks is None:
            continue
        counted = job.under_qos(tasks, qos)
        if key == "MaxSubmitJobsPA":
            counted = _of_account(counted, job.account)
        yield _Limit(f"QoS {qos.name}", key, qos.jobs[key], len(counted))


def _run_limits(job: _Job) -> Iterator[_Limit]:
    """The limits of what may run at once. What runs already is not counted: it will end."""
    for key in ("MaxJobsPU", "MaxJobsPA", "GrpJobs"):
        qos = job.first_qos(key)
        if qos is not None:
            yield _Limit(f"QoS {qos.name}", key, qos.jobs[key])
    if not job.first_qos("MaxJobsPU") and not job.first_qos("MaxJobsPA"):
        yield from _association_limits(job, "MaxJobs")
    if not job.first_qos("GrpJobs"):
        yield from _association_limits(job, "GrpJobs")


def _association_limits(job: _Job, key: str) -> Iterator[_Limit]:
    """The limit of the user's association; of several partitions', the one that leaves most."""
    limits = []
    for association in job.associations:
        if key not in association.jobs:
            return  # the job may go where nothing limits it
        queued = None
        if key in ("MaxSubmitJobs", "GrpSubmitJobs"):
            tasks = job.queued()
            if tasks is None:
                return
            queued = len(_under_association(tasks, association))
        holder = f"account {association.account}"
        limits.append(_Limit(holder, key, association.jobs[key], queued))
    if limits:
        yield max(limits, key=lambda limit: limit.left)


def _under_association(tasks: Iterable[QueuedTask], association: Association) -> list[QueuedTask]:
    counted = _of_account(tasks, association.account)
    if association.partition is None:
        return counted
    return [task for task in counted if association.partition in task.partitions]


def _of_account(tasks: Iterable[QueuedTask], account: str | None) -> list[QueuedTask]:
    """The tasks of an account; slurmdbd keeps accounts in lower case."""
    return [task for task in tasks if task.account.lower() == (account or "").lower()]


def _longest_array(site: Site, cluster: Cluster) -> int | None:
    """The most tasks of one array, by slurm.conf and by the profile."""
    numbers = []
    match = re.search(r"\bmax_array_tasks=(\d+)", site.config.get("SchedulerParameters", ""))
    if match:
        numbers.append(int(match[1]))
    if cluster.max_array_tasks is not None:
        numbers.append(cluster.max_array_tasks)
    return min(numbers, default=None)


def _lowest(limits: list[_Limit]) -> tuple[int | None, str]:
    """What the limits leave together, and the rule that leaves least."""
    if not limits:
        return None, ""
    lowest = min(limits, key=lambda limit: limit.left)
    return lowest.left, str(lowest)


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None
