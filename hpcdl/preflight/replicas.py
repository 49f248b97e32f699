"""Scripts that train on several GPUs or nodes by themselves: what would go wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.api_names import calls
from hpcdl.usercode.notebook import where

_OVER_NODES = re.compile(
    r"TF_CONFIG|MultiWorkerMirroredStrategy|ParameterServerStrategy|ClusterResolver|horovod|mpi4py"
    r"|SLURM_PROCID"
)


def replicas(subject: Subject, file: str, source: str, keras: str) -> Iterator[Finding]:
    """The strategies of a program whose Keras trains or counts wrongly on several replicas.

    Args:
        subject: what is checked.
        file: the program's name.
        source: its text.
        keras: the version of the Keras that it uses; empty if that is not known.
    """
    fault = wrong_on_replicas(keras)
    resources = subject.job.resources
    if resources.node_count.most > 1 and keras.startswith("3."):
        yield from _fit_over_nodes(file, source, keras)
    if not fault or resources.gpus < 2:
        return
    for name, call, _ in calls(source):
        if name == "tensorflow.distribute.MirroredStrategy":
            place = where(file, source, call.lineno)
            cause = f"{place}: on several GPUs, fit of Keras {keras} {fault}"
            fix = "use an image with Keras 2, or 3.10 and newer"
            yield Finding(cause, fix, "job", "script", False)


def _fit_over_nodes(file: str, source: str, keras: str) -> Iterator[Finding]:
    """Keras 3's own ``fit`` under MultiWorkerMirroredStrategy.

    Source: https://github.com/keras-team/keras/issues/20585
    """
    uses_fit = re.search(r"\.fit\s*\(", source) is not None
    for name, call, _ in calls(source):
        if uses_fit and name == "tensorflow.distribute.MultiWorkerMirroredStrategy":
            place = where(file, source, call.lineno)
            cause = f"{place}: fit of Keras {keras} does not train with MultiWorkerMirroredStrategy"
            fix = "use an image with Keras 2, a training loop of your own, or a job with a model"
            yield Finding(cause, fix, "job", "script", False)


def alone_on_each_node(subject: Subject, sources: Mapping[str, str]) -> Iterator[Finding]:
    """A script for several nodes that does not look for the others.

    Args:
        subject: what is checked.
        sources: the text of its programs, by their names.
    """
    count = subject.plan.size.nodes
    text = "\n".join(sources.values())
    if count == 1 or not subject.job.script or _OVER_NODES.search(text):
        return
    cause = f"the job has {count} nodes, and its script names nothing that works over nodes"
    fix = (
        "each node would do the same work: use TF_CONFIG, which hpcdl sets there, as"
        " MultiWorkerMirroredStrategy does, or set resources.nodes=1"
    )
    yield Finding(cause, fix, "job", "resources.nodes", False)


def wrong_on_replicas(keras: str) -> str:
    """What ``fit`` of a version of Keras does wrong on several replicas; empty if nothing.

    hpcdl's own training compensates for it: hpcdl/trainer/compat.
    """
    release = tuple(int(number) for number in re.findall(r"\d+", keras)[:2])
    if not (3, 0) <= release < (3, 10):
        return ""
    if release < (3, 2):
        return "does not add up the replicas' gradients: each trains its own model"
    faults = []
    if release < (3, 8):
        faults.append("adds up the replicas' gradients without taking their mean")
    if release < (3, 7):
        faults.append("shows the metrics of the first replica alone")
    else:
        faults.append("counts metrics wrongly")
    return ", and ".join(faults)
