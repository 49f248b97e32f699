"""Scripts that train on several GPUs by themselves: what their version of Keras does wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.api_names import calls
from hpcdl.usercode.notebook import where


def replicas(subject: Subject, file: str, source: str, keras: str) -> Iterator[Finding]:
    """The strategies of a program whose Keras trains or counts wrongly on several replicas.

    Args:
        subject: what is checked.
        file: the program's name.
        source: its text.
        keras: the version of the Keras that it uses; empty if that is not known.
    """
    fault = wrong_on_replicas(keras)
    if not fault or subject.submission.job.resources.gpus < 2:
        return
    for name, call, _ in calls(source):
        if name == "tensorflow.distribute.MirroredStrategy":
            place = where(file, source, call.lineno)
            cause = f"{place}: on several GPUs, fit of Keras {keras} {fault}"
            fix = "use an image with Keras 2, or 3.10 and newer"
            yield Finding(cause, fix, "job", "script", False)


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
