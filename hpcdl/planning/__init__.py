"""plan(job, cluster) -> Plan: one site's words for what a job asks.

Pure: no disk, no network, no scheduler. `hpcdl.submission.locate` looks at the disk.
"""

from __future__ import annotations

from os.path import basename, relpath
from pathlib import PurePath

from hpcdl.cluster.ports import ports_of
from hpcdl.cluster.schema import Cluster, Image
from hpcdl.errors import JobError
from hpcdl.job import Job
from hpcdl.job.command import COMMAND_MEMORY_GB, shown_command, with_data_root
from hpcdl.job.training import notes_of_training
from hpcdl.planning.directives import cpus_of, directives, lead_s, share_of_memory
from hpcdl.planning.parts import Container, Environment, Modules, Notify, Plan, Policy, Size
from hpcdl.planning.program import (
    NOTEBOOK_RUNNER,
    SUPPORT,
    Command,
    Predict,
    Program,
    Script,
    Training,
)
from hpcdl.planning.refusals import choose_image, refusals

__all__ = [
    "NOTEBOOK_RUNNER",
    "SUPPORT",
    "Command",
    "Container",
    "Environment",
    "Modules",
    "Notify",
    "Plan",
    "Policy",
    "Predict",
    "Program",
    "Script",
    "Size",
    "Training",
    "plan",
    "reads_outside",
    "script_name",
    "summary",
]


def plan(job: Job, cluster: Cluster) -> Plan:
    """Decide how a job runs on a cluster.

    Raises:
        JobError: the cluster cannot do what the job asks; every reason at once.
    """
    image, problems = choose_image(job, cluster)
    problems += refusals(job, cluster)
    if problems:
        raise JobError(f"{job.source} on {cluster.name}", problems)
    resources, nodes = job.resources, job.resources.node_count
    notes = notes_of_training(job)
    if resources.memory_gb and cluster.memory_request == "none":
        notes.append(f"memory comes with the CPUs on {cluster.name}: memory_gb is not asked for")
    size = Size(
        nodes=nodes.most,
        gpus=resources.gpus,
        cpus=cpus_of(job, cluster),
        memory_gb=resources.memory_gb or _memory_gb(job, cluster),
        time_limit_s=resources.time_limit_s,
        emulate_gpus=cluster.emulate_gpus,
        gpus_granted=cluster.gpu_request != "none",
        least_nodes=nodes.least if nodes.is_range else None,
    )
    notify = job.notify or cluster.notify
    program = _program(job, cluster)
    if isinstance(program, Command):
        notes.append(f"runs on the node, without a container: {shown_command(program.words)}")
    return Plan(
        name=job.name,
        source=job.source,
        cluster=cluster.name,
        data_root=cluster.data_root,
        scratch=cluster.scratch,
        size=size,
        program=program,
        container=None if image is None else _container(job, cluster, image),
        environment=Environment(
            job.env, cluster.pass_env, job.pythonpath, ports_of(cluster.worker_ports)
        ),
        modules=Modules(
            cluster.module_init, cluster.modules, cluster.host_modules, cluster.host_python
        ),
        policy=Policy(
            max_requeues=cluster.max_requeues,
            stop_margin_s=cluster.stop_margin_s,
            signal_lead_s=lead_s(job, cluster),
            min_poll_s=cluster.min_poll_s,
            requeue=cluster.requeue,
        ),
        directives=directives(job, cluster, size),
        notes=notes,
        folder=job.folder,
        notify=Notify(notify.command, notify.timeout_s),
    )


def _container(job: Job, cluster: Cluster, image: Image) -> Container:
    return Container(
        runtime=cluster.runtime,
        image=image.path,
        python=image.python,
        nv=job.resources.gpus > 0 and not cluster.emulate_gpus,
        binds=cluster.binds,
        requirements=job.requirements,
        gpu_vendor=cluster.gpu_vendor,
    )


def _memory_gb(job: Job, cluster: Cluster) -> float | None:
    """The memory that a job gets which asks for none, in GiB; None if it is not known."""
    share = share_of_memory(job.resources.gpus, cluster)
    if job.hpcdl and share is not None:
        return min(share, COMMAND_MEMORY_GB)
    return share


def _program(job: Job, cluster: Cluster) -> Program:
    if job.hpcdl:
        return Command(with_data_root(job.hpcdl, cluster.data_root), job.workdir or job.folder)
    if job.script is None:
        weights = getattr(job.model, "weights", None)
        path = job.data.path if job.data else None
        return Training(reads_outside(path, weights, cluster.data_root))
    return Script(_named_from(job, job.script), job.args, job.workdir, job.stop_signal)


def reads_outside(data: str | None, weights: str | None, data_root: str) -> list[str]:
    """The folders of a training's data and weights that do not lie under data_root.

    What lies right under the root is named itself: its folder would hide the image.

    Args:
        data: the data set's path; None for a staged set.
        weights: what the job says of a backbone's weights, which may be a file.
        data_root: the profile's.
    """
    files = [data, None if weights in ("imagenet", "none") else weights]
    folders = []
    for file in files:
        if file and not PurePath(file).is_relative_to(data_root):
            parent = str(PurePath(file).parent)
            folders.append(file if parent == "/" else parent)
    return folders


def _named_from(job: Job, script: str) -> str:
    """A script as a batch script names it: from the job file's folder, where it lies below that."""
    relative = relpath(script, job.folder)
    return script if job.workdir or relative.startswith("../") else relative


def summary(plan: Plan) -> str:
    """One line for people: ``1 node, 1 GPU, 20 CPUs, 15 min``."""
    size = plan.size
    minutes = size.time_limit_s / 60
    limit = f"{minutes:g} min" if minutes < 120 else f"{minutes / 60:g} h"
    nodes = _many(size.nodes, "node")
    of_node = [_many(size.cpus, "CPU")]
    if size.gpus:
        of_node.insert(0, _many(size.gpus, "GPU"))
    if size.nodes == 1:
        return ", ".join([nodes, *of_node, limit])
    if size.least_nodes is not None:
        nodes = f"{size.least_nodes} to {nodes}"
    return f"{nodes} with {' and '.join(of_node)} each, {limit}"


def script_name(plan: Plan) -> str:
    """The file name of the batch script, for ``sbatch``."""
    return f"{basename(plan.name)}.slurm"


def _many(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
