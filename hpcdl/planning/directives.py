"""The #SBATCH options of a job, in its site's words."""

from __future__ import annotations

from hpcdl.cluster.schema import Cluster
from hpcdl.job import Job, format_time
from hpcdl.planning.parts import Size


def directives(job: Job, cluster: Cluster, size: Size) -> list[tuple[str, str]]:
    """The options that say how big the job is and who pays; an empty value stands for a flag."""
    options = [*_node_options(size), ("cpus-per-task", str(size.cpus))]
    options += _gpu_options(cluster, size)
    if size.memory_gb and cluster.memory_request != "none":
        shares = {"mem": 1, "mem-per-cpu": size.cpus, "mem-per-gpu": max(1, size.gpus)}
        memory_mb = int(size.memory_gb * 1024 / shares[cluster.memory_request])
        options.append((cluster.memory_request, f"{memory_mb}M"))
    options.append(("time", format_time(size.time_limit_s)))
    for key in ("clusters", "account", "partition", "qos"):
        value = getattr(cluster, key)
        if value:
            options.append((key, value))
    if cluster.constraint and "constraint" not in job.slurm:
        options.append(("constraint", cluster.constraint))
    options.append(("signal", f"B:USR2@{lead_s(job, cluster)}"))
    options.append(("requeue" if cluster.requeue else "no-requeue", ""))
    options.append(("open-mode", "append"))
    mail = (job.notify or cluster.notify).mail
    if mail and "mail-user" not in job.slurm:
        options += [("mail-type", "END,FAIL"), ("mail-user", mail)]
    return options + sorted(job.slurm.items())


def _node_options(size: Size) -> list[tuple[str, str]]:
    """The options for nodes, with one task on each.

    sbatch takes the tasks of a node times the fewest nodes for the most tasks that there may be,
    and the job gets no more nodes than that. So a range says nothing of tasks: it gets one a node.
    """
    if size.least_nodes is not None:
        return [("nodes", f"{size.least_nodes}-{size.nodes}")]
    return [("nodes", str(size.nodes)), ("ntasks-per-node", "1")]


def _gpu_options(cluster: Cluster, size: Size) -> list[tuple[str, str]]:
    """The options for GPUs, and for the node's own disk where that is a generic resource."""
    options = []
    gres = []
    if size.gpus and cluster.gpu_request != "none":
        count = f"{cluster.gpu_type}:{size.gpus}" if cluster.gpu_type else str(size.gpus)
        if cluster.gpu_request == "gres":
            gres.append(f"gpu:{count}")
        else:
            options.append(("gpus-per-node", count))
    if cluster.scratch_gres:
        gres.append(cluster.scratch_gres)
    if gres:
        options.append(("gres", ",".join(gres)))
    return options


def cpus_of(job: Job, cluster: Cluster) -> int:
    """The CPUs that a job asks for; by default its GPUs' share of the node's."""
    resources, node = job.resources, cluster.node
    return resources.cpus or max(1, node.cpus * max(1, resources.gpus) // max(1, node.gpus))


def share_of_memory(gpus: int, cluster: Cluster) -> float | None:
    """The share of a node's memory, in GiB, that goes with GPUs; None if that is not known."""
    node = cluster.node
    if node.memory_gb is None:
        return None
    return round(node.memory_gb * max(1, gpus) / max(1, node.gpus), 1)


def lead_s(job: Job, cluster: Cluster) -> int:
    """How long before the time limit SLURM warns the job: at most a third of it."""
    return min(cluster.signal_lead_s, max(1, job.resources.time_limit_s // 3))
