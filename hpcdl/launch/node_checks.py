"""In an attempt's first second: does this node have what the job needs? What only the node itself can tell."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcdl.contract.spec import EXIT_DATA, EXIT_DEVICES, EXIT_SPEC
from hpcdl.image import size_in_header
from hpcdl.launch.command import data_path
from hpcdl.mounts.binds import parse
from hpcdl.planning import Plan
from hpcdl.run import records
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import Manifest
from hpcdl.staging import how_to_stage

LOOK_S = 60.0  # how long a file may take to answer; HPCDL_LOOK_S takes its place, for tests
STATUS = {
    "spec": EXIT_SPEC,
    "data": EXIT_DATA,
    "device": EXIT_DEVICES,
}  # the exit status for each cause

_MISSING = os.strerror(errno.ENOENT)
_DRIVER = Path("/dev/nvidiactl")  # there where NVIDIA's kernel module is loaded


@dataclass(frozen=True)
class Fault:
    """One thing that the job needs and does not find.

    Args:
        cause: one of `STATUS`.
        text: what was expected, and what was found.
        elsewhere: whether another node may well be better.
    """

    cause: str
    text: str
    elsewhere: bool = True


def faults(paths: RunPaths, plan: Plan, in_slurm: bool) -> list[Fault]:
    """All that this node lacks. It takes milliseconds, or LOOK_S seconds where a file system does not answer.

    Args:
        paths: the run.
        plan: its plan.
        in_slurm: whether SLURM gave this job its CPUs and GPUs; a user's own machine has what it has.
    """
    found = list(_missing_files(paths, plan))
    if in_slurm:
        found += [*_devices(plan), *_cpus(plan)]
    return found


def _missing_files(paths: RunPaths, plan: Plan) -> Iterator[Fault]:
    """The image, the data set and the folders that the container is to see."""
    data = data_path(paths)
    container = plan.container
    binds = container.binds if container else []
    folders = {bind.split(":")[0]: "which the container is to see" for bind in binds}
    folders.update(dict.fromkeys(plan.environment.pythonpath, "of pythonpath"))
    if container and container.overlay:
        folders[container.overlay] = "the job's packages"
    if plan.program.workdir:
        folders[plan.program.workdir] = "the working directory"
    if plan.scratch:
        folders[os.path.expandvars(plan.scratch)] = "the node's scratch folder"
    image = container.image if container else None
    read = [path for path in (image, data) if path is not None]
    # data_root may be missing. But who looks whether it is there must not hang.
    shown = [parse(bind).source for bind in container.shown] if container else []  # these too
    answers = look_at(
        {**dict.fromkeys([*folders, plan.data_root, *shown], False), **dict.fromkeys(read, True)}
    )
    if image is not None:
        checked = Manifest.read(paths).image or {}
        yield from _image(image, answers[image], checked)
    for folder, what in folders.items():
        if "error" in answers[folder]:
            yield Fault("spec", f"{folder}, {what}: {answers[folder]['error']}")
    if data is not None and "error" in answers[data]:
        error = answers[data]["error"]
        name = records.spec(paths).get("data", {}).get("name")
        fix = (
            f". It is staged with: {how_to_stage(name, plan.data_root)}"
            if name and error == _MISSING
            else ""
        )
        yield Fault("data", f"the data set {data}: {error}{fix}")
    elif answers[plan.data_root].get("hangs"):
        yield Fault("data", f"data_root {plan.data_root}: {answers[plan.data_root]['error']}")
    for path in shown:
        if answers[path].get("hangs"):
            yield Fault("data", f"{path}: {answers[path]['error']}")


def _image(image: str, answer: dict[str, Any], checked: Mapping[str, Any]) -> Iterator[Fault]:
    """The image is there, and is the file that it was at submission.

    Args:
        image: its path.
        answer: what it answered.
        checked: of the manifest; an older hpcdl did not write its size.
    """
    if "error" in answer:
        yield Fault("spec", f"the image {image}: {answer['error']}")
    if "head" not in answer:
        return
    size, whole = answer["size"], size_in_header(bytes.fromhex(answer["head"]))
    if whole is None:
        yield Fault("spec", f"the image {image} is not a SIF file")
    elif size < whole:
        yield Fault(
            "spec",
            f"the image {image} is cut short: it has {size:,} bytes, and its header says {whole:,}",
        )
    elif size != checked.get("bytes", size):
        now = f"it has {size:,} bytes, and had {checked['bytes']:,} at submission; submit the job again to use it"
        yield Fault("spec", f"the image {image} is another file: {now}", elsewhere=False)


def _devices(plan: Plan) -> Iterator[Fault]:
    """The job sees the GPUs that it asks for, or more if it uses the first ones, and a driver."""
    if plan.size.gpus == 0:
        return
    from hpcdl.local_machine import visible_gpus  # with all that makes a job

    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if plan.container and plan.container.nv and not _DRIVER.exists():
        text = f"it has no NVIDIA driver ({_DRIVER} is missing), and the job asks for {plan.size.gpus} GPU(s)"
        yield Fault("device", text)
    if plan.size.emulate_gpus and chosen is None:
        return
    visible = visible_gpus()
    if visible > plan.size.gpus and plan.uses_first_gpus:
        return
    if visible != plan.size.gpus:
        shown = "is not set" if chosen is None else f"is {chosen!r}"
        text = f"{visible} GPU(s) are visible (CUDA_VISIBLE_DEVICES {shown}), and the job asks for {plan.size.gpus}"
        yield Fault("device", text, elsewhere=visible < plan.size.gpus)


def _cpus(plan: Plan) -> Iterator[Fault]:
    """The job may use as many CPUs as it asks for, or as there are: a test bed's nodes have fewer than they say."""
    if not hasattr(os, "sched_getaffinity"):  # macOS: a job there has all CPUs
        return
    there = len(os.sched_getaffinity(1))  # init's: in a container, too, it has all that can be had
    usable, wanted = len(os.sched_getaffinity(0)), min(plan.size.cpus, there)
    if usable < wanted:
        yield Fault(
            "device",
            f"the job may use {usable} of its CPUs (its affinity), and asks for {plan.size.cpus}",
        )


def look_at(wanted: Mapping[str, bool]) -> dict[str, dict[str, Any]]:
    """Look at all these paths at once, and wait LOOK_S seconds at most.

    Args:
        wanted: the paths, and whether each is to be read; else it need only be there.

    Returns:
        what each answered, as `hpcdl.launch.probe.look` has it; ``hangs`` beside the ``error`` where it did not.
        Nothing of a path where nobody could look: that alone is no fault.
    """
    patience_s = float(os.environ.get("HPCDL_LOOK_S", LOOK_S))
    argv, silent = [sys.executable, "-m", "hpcdl.launch.probe", json.dumps(dict(wanted))], {}
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        output, _ = child.communicate(timeout=patience_s)
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        silent = {
            "error": f"no answer for {patience_s:.0f} s; its file system hangs",
            "hangs": True,
        }
        child.kill()
        with suppress(
            subprocess.TimeoutExpired
        ):  # in a dead mount's system call it cannot even be killed
            child.communicate(timeout=1.0)
    rows = [json.loads(line) for line in output.splitlines() if line.endswith(b"}")]
    answers = {row.pop("path"): row for row in rows}
    return {path: answers.get(path, silent) for path in wanted}
