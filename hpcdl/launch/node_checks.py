"""An attempt's first second: does this node have what the job needs? Only the node can tell."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hpcdl.contract.exit_status import EXIT_DATA, EXIT_DEVICES, EXIT_SPEC
from hpcdl.image import size_in_header
from hpcdl.launch.command import data_path
from hpcdl.mounts.binds import parse
from hpcdl.planning import Plan
from hpcdl.run import records
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import Manifest
from hpcdl.staging import how_to_stage

LOOK_S = 60.0  # how long a file may take to answer; HPCDL_LOOK_S takes its place, for tests
# The exit status for each cause
STATUS = {"spec": EXIT_SPEC, "data": EXIT_DATA, "device": EXIT_DEVICES}

_MISSING = os.strerror(errno.ENOENT)


@dataclass(frozen=True)
class Fault:
    """One thing that the job needs and does not find.

    Args:
        cause: one of `STATUS`.
        text: what was expected, and what was found.
        elsewhere: whether another node may be better.
    """

    cause: str
    text: str
    elsewhere: bool = True


def faults(paths: RunPaths, plan: Plan, in_slurm: bool) -> list[Fault]:
    """All that this node lacks.

    It takes milliseconds, or LOOK_S seconds if a file system does not answer.

    Args:
        paths: the run.
        plan: its plan.
        in_slurm: whether SLURM gave this job its CPUs and GPUs; else the machine's own are used,
            however many.
    """
    all_faults = list(_missing_files(paths, plan))
    if in_slurm:
        all_faults += _devices(plan)
        all_faults += _cpus(plan)
    return all_faults


def _missing_files(paths: RunPaths, plan: Plan) -> Iterator[Fault]:
    """The image, the data set and the folders that the container is to see."""
    container, data = plan.container, data_path(paths)
    image, shown = None, []
    if container is not None:
        image = container.image
        shown = [parse(bind).source for bind in container.shown]
    folders = _folders(plan)
    # data_root and what is shown may be missing. But who looks for them must not hang.
    exists = [*folders, plan.data_root, *shown]
    answers = look_at({**dict.fromkeys(exists, False), **_to_read(image, data)})
    if image is not None:
        yield from _image(image, answers[image], Manifest.read(paths).image or {})
    for folder, what in folders.items():
        if "error" in answers[folder]:
            yield Fault("spec", f"{folder}, {what}: {answers[folder]['error']}")
    if data is not None and "error" in answers[data]:
        yield _data_fault(paths, plan, data, answers[data]["error"])
    elif answers[plan.data_root].get("hangs"):
        yield Fault("data", f"data_root {plan.data_root}: {answers[plan.data_root]['error']}")
    for path in shown:
        if answers[path].get("hangs"):
            yield Fault("data", f"{path}: {answers[path]['error']}")


def _to_read(*paths: str | None) -> dict[str, bool]:
    """Those of these paths that the job has, as paths to be read."""
    return {path: True for path in paths if path is not None}


def _folders(plan: Plan) -> dict[str, str]:
    """The folders that must be there, and what each is for."""
    folders = {}
    if plan.container is not None:
        for bind in plan.container.binds:
            folders[bind.split(":")[0]] = "which the container is to see"
    for folder in plan.environment.pythonpath:
        folders[folder] = "of pythonpath"
    if plan.container is not None and plan.container.overlay:
        folders[plan.container.overlay] = "the job's packages"
    if plan.program.workdir:
        folders[plan.program.workdir] = "the working directory"
    if plan.scratch:
        folders[os.path.expandvars(plan.scratch)] = "the node's scratch folder"
    return folders


def _data_fault(paths: RunPaths, plan: Plan, data: str, error: str) -> Fault:
    """A data set that cannot be read; a missing one that hpcdl knows can be staged."""
    message = f"the data set {data}: {error}"
    name = records.spec(paths).get("data", {}).get("name")
    if name and error == _MISSING:
        message += f". It is staged with: {how_to_stage(name, plan.data_root)}"
    return Fault("data", message)


def _image(image: str, answer: dict[str, Any], checked: Mapping[str, Any]) -> Iterator[Fault]:
    """The image exists, and is the same file as at submission.

    Args:
        image: its path.
        answer: from `look_at`.
        checked: the manifest's image; an older hpcdl did not write its size.
    """
    if "error" in answer:
        yield Fault("spec", f"the image {image}: {answer['error']}")
    if "head" not in answer:
        return
    size, whole = answer["size"], size_in_header(bytes.fromhex(answer["head"]))
    if whole is None:
        yield Fault("spec", f"the image {image} is not a SIF file")
    elif size < whole:
        sizes = f"it has {size:,} bytes, and its header says {whole:,}"
        yield Fault("spec", f"the image {image} is cut short: {sizes}")
    elif size != checked.get("bytes", size):
        sizes = f"it has {size:,} bytes, and had {checked['bytes']:,} at submission"
        message = f"the image {image} is another file: {sizes}; submit the job again to use it"
        yield Fault("spec", message, elsewhere=False)


def _devices(plan: Plan) -> Iterator[Fault]:
    """The job sees the GPUs that it asks for, or more if it uses the first ones, and a driver."""
    gpus = plan.size.gpus
    if gpus == 0:
        return
    from hpcdl.local_machine import visible_gpus  # with all that makes a job

    vendor = plan.gpu_vendor
    chosen = os.environ.get(vendor.variable)
    if plan.container and plan.container.nv and not os.path.exists(vendor.driver):
        missing = f"it has no {vendor.title} driver ({vendor.driver} is missing)"
        yield Fault("device", f"{missing}, and the job asks for {gpus} GPU(s)")
    if plan.size.emulate_gpus and chosen is None:
        return
    visible = visible_gpus(vendor)
    if visible > gpus and plan.uses_first_gpus:
        return
    if visible != gpus:
        variable = "is not set" if chosen is None else f"is {chosen!r}"
        message = f"{visible} GPU(s) are visible ({vendor.variable} {variable})"
        message += f", and the job asks for {gpus}"
        yield Fault("device", message, elsewhere=visible < gpus)


def _cpus(plan: Plan) -> Iterator[Fault]:
    """The job may use the CPUs that it asks for, or all if the node has fewer.

    A test bed's nodes have fewer than SLURM says.
    """
    if not hasattr(os, "sched_getaffinity"):  # macOS: a job there has all CPUs
        return
    existing = len(os.sched_getaffinity(1))  # init's, which has all, in a container too
    usable = len(os.sched_getaffinity(0))
    if usable < min(plan.size.cpus, existing):
        message = f"the job may use {usable} of its CPUs (its affinity)"
        yield Fault("device", f"{message}, and asks for {plan.size.cpus}")


def look_at(is_read: Mapping[str, bool]) -> dict[str, dict[str, Any]]:
    """Look at all these paths at once, and wait LOOK_S seconds at most.

    Args:
        is_read: the paths, and whether each is to be read; the others need only exist.

    Returns:
        The answer of each, as `hpcdl.launch.probe.look` gives it. A path that did not answer has an
        ``error`` and ``hangs``. An empty answer says that nobody could look, which is not a fault.
    """
    patience_s = float(os.environ.get("HPCDL_LOOK_S", LOOK_S))
    argv = [sys.executable, "-m", "hpcdl.launch.probe", json.dumps(dict(is_read))]
    no_answer: dict[str, Any] = {}
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        output, _ = child.communicate(timeout=patience_s)
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        message = f"no answer for {patience_s:.0f} s; its file system hangs"
        no_answer = {"error": message, "hangs": True}
        child.kill()
        # In a dead mount's system call it cannot even be killed
        with suppress(subprocess.TimeoutExpired):
            child.communicate(timeout=1.0)
    answers = dict.fromkeys(is_read, no_answer)
    for line in output.splitlines():
        if line.endswith(b"}"):
            answer = json.loads(line)
            answers[answer.pop("path")] = answer
    return answers
