"""What SLURM's answers say about one job: its partitions, nodes, associations and QoS."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from hpcdl.preflight import Subject
from hpcdl.scheduler import rights
from hpcdl.scheduler.site import Association, NodeShape, Partition, Qos


def names_in(partitions: str | None) -> list[str]:
    """The names in the profile's key ``partition``."""
    return partitions.split(",") if partitions else []


def names_of(items: Iterable[Partition | Qos]) -> list[str]:
    """The names of partitions or QoS."""
    return [item.name for item in items]


def partitions_of(subject: Subject) -> list[Partition]:
    """The partitions that the job may go to: those that the profile names, or else the default."""
    return rights.partitions_of(subject.slurm_site, names_in(subject.cluster.partition))


def nodes_of(subject: Subject) -> list[NodeShape]:
    """The nodes that the job may get; all nodes if SLURM does not say which."""
    names = set(names_of(partitions_of(subject)))
    nodes = []
    for node in subject.slurm_site.nodes:
        if not names or not node.partitions or names & set(node.partitions):
            nodes.append(node)
    return nodes


def associations_of(subject: Subject) -> list[Association]:
    """The associations whose limits hold for the job."""
    names = names_of(partitions_of(subject))
    return rights.binding(subject.slurm_site, subject.cluster.account, names)


def qos_of(subject: Subject) -> list[Qos]:
    """The QoS whose limits hold for the job, the most important one first."""
    return rights.binding_qos(
        subject.slurm_site,
        subject.cluster.qos,
        associations_of(subject),
        partitions_of(subject),
    )


def similar(name: str, names: list[str]) -> str:
    """A question with the most similar name, in whatever case the user wrote it; "" if none is."""
    in_lower_case = {other.lower(): other for other in names}
    close = get_close_matches(name.lower(), list(in_lower_case), n=1, cutoff=0.6)
    return f"; did you mean {in_lower_case[close[0]]}?" if close else ""


def choices(names: Iterable[str]) -> str:
    """Names as a message shows them: ``a|b``."""
    return "|".join(names) or "(none)"
