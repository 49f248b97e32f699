"""Verdicts on a node's GPUs: are they there, does the driver fit, do they add up? Pure."""

from __future__ import annotations

import re

from hpcdl.cluster.schema import Cluster
from hpcdl.promises.evidence import JobEvidence
from hpcdl.promises.names import NODE
from hpcdl.promises.verdict import (
    Verdict,
    broken,
    kept,
    not_needed,
    not_tried,
    telling,
    why_failed,
    why_unknown,
)
from hpcdl.run import states


def gpus(about: JobEvidence, cluster: Cluster) -> Verdict:
    """Whether SLURM gave the GPUs that were asked for, and the container shows them."""
    if about.gpus == 0 and not about.unsent:
        return not_needed("the profile's nodes have no GPUs (node.gpus), or --gpus is 0")
    if unknown := why_unknown(about, NODE):
        return unknown
    if not about.site:
        return _gpus_by_cause(about, cluster)
    variables = about.site.get("variables", {})
    devices = variables.get("CUDA_VISIBLE_DEVICES", variables.get("ROCR_VISIBLE_DEVICES"))
    visible = _count(devices)
    taken = _taken(about)
    listed = max(len(about.site.get("smi", [])), taken)  # an image may lack nvidia-smi
    if visible is None:
        visible = _count(variables.get("SLURM_JOB_GPUS"))
    if visible is None and not cluster.emulate_gpus:
        visible = listed or None
    if visible != about.gpus:
        return _other_gpus(about, cluster, visible or 0)
    if not taken and about.gpus > 1 and "MIG-" in (devices or ""):
        return broken(f"{visible} of {about.gpus} are visible, as parts of GPUs (MIG)", _PARTS)
    if not cluster.emulate_gpus and cluster.gpu_vendor == "nvidia" and listed < about.gpus:
        return broken(f"the container lists {listed} of {about.gpus}", _NOT_SHOWN)
    what = "emulated, SLURM gave " if cluster.emulate_gpus else ""
    names = ", ".join(sorted(set(about.site.get("smi", []))))
    return kept(f"{what}{visible} of {about.gpus}{f': {names}' if names else ''}")


_VISIBLE = re.compile(r"(\d+) GPU\(s\) are visible")  # the words of hpcdl.launch.node_checks
_NOT_SHOWN = (
    "the container lacks GPUs that SLURM gave: try nvidia-smi in a job on that node, then in its "
    "container, to which the container command passes them on (--nv; for AMD rocm-smi and --rocm)"
)


_PARTS = (
    "a program can use one part of a GPU alone: node: {gpus: 1} tells hpcdl so, or gpu_type and "
    "partition choose whole GPUs"
)


def _taken(about: JobEvidence) -> int:
    """How many GPUs TensorFlow has taken."""
    return sum(str(name).startswith("GPU") for name in about.probe.get("devices", []))


def _gpus_by_cause(about: JobEvidence, cluster: Cluster) -> Verdict:
    """What the worker said of the GPUs before it started anything, or TensorFlow after that."""
    visible = _VISIBLE.search(about.message)
    if visible and " driver" not in about.message:
        return _other_gpus(about, cluster, int(visible[1]))
    if about.cause == "device" and "(its affinity)" not in about.message:  # of its CPUs
        return broken(about.message or telling(about.log), _NOT_SHOWN)
    return not_tried(f"the program did not start: {why_failed(about)}")


def _other_gpus(about: JobEvidence, cluster: Cluster, visible: int) -> Verdict:
    """SLURM gave another number of GPUs. Where it gave some, the request is understood."""
    asked = "no option" if cluster.gpu_request == "none" else f"--{cluster.gpu_request}"
    finding = f"{visible} of {about.gpus} are visible (asked for with {asked})"
    if visible:
        return broken(
            finding,
            "see what SLURM gave (scontrol show job) and what there is (sinfo --format=%G): "
            "partition and gpu_type choose other nodes",
        )
    better = "gres" if cluster.gpu_request != "gres" else "gpus-per-node"
    return broken(
        finding,
        f"ask for them another way: gpu_request: {better}, with gpu_type where the site wants one; "
        "sinfo --format=%G lists what there is",
        gpu_request=better,
    )


def _count(devices: str | None) -> int | None:
    if devices is None or devices in ("", "NoDevFiles"):
        return None
    return len(devices.split(","))


def driver(about: JobEvidence, cluster: Cluster) -> Verdict:
    """Whether the node's driver runs the CUDA that the image was built for."""
    if cluster.emulate_gpus and not about.unsent:
        return not_needed("GPUs are emulated (emulate_gpus)")
    if about.gpus == 0 and not about.unsent:
        return not_needed("the job asks for no GPU")
    if cluster.gpu_vendor != "nvidia":
        return not_needed(f"the GPUs are from {cluster.gpu_vendor}")
    if unknown := why_unknown(about, NODE):
        return unknown
    built, runs = about.site.get("cuda"), about.site.get("driver_cuda")
    if not about.site and " driver" not in about.message + about.log:
        return not_tried(f"the program did not start: {why_failed(about)}")
    if about.site.get("driver") is None and _taken(about):
        return kept("TensorFlow has taken the GPUs; nvidia-smi says nothing in the container")
    if about.site.get("driver") is None:
        return broken(
            "nvidia-smi says nothing in the container" if about.site else why_failed(about),
            "the node has no NVIDIA driver, or the container command does not pass it on (--nv): "
            "try nvidia-smi in a job on that node, then in its container; partition chooses nodes",
        )
    if "cuda" in about.site and built is None:
        return broken(
            "the image's TensorFlow was built without CUDA",
            "images must name an image with a TensorFlow for GPUs",
        )
    return _compared(about, built, runs)


def _compared(about: JobEvidence, built: str | None, runs: str | None) -> Verdict:
    """The CUDA that the image was built for, beside the newest that the driver runs."""
    unknown = "which CUDA the {} has is not known: " + why_failed(about)
    if built is None:
        return not_tried(unknown.format("image"))
    if runs is None:
        return not_tried(unknown.format("driver"))
    versions = f"driver {about.site['driver']} runs CUDA {runs}, the image has {built}"
    if _major(built) > _major(runs):
        return broken(
            versions,
            f"use an image with CUDA {_major(runs)} or older, or ask the site for a newer driver",
        )
    return kept(versions)


def _major(version: str) -> int:
    head = version.partition(".")[0]
    return int(head) if head.isdigit() else 0


_NOT_FAILED = (states.DONE, states.CANCELLED, states.LOST)


def all_reduce(about: JobEvidence, cluster: Cluster) -> Verdict:
    """Whether the GPUs of a node add up arrays together."""
    if about.gpus < 2 and not about.unsent:
        return not_needed(f"the job has {about.gpus} GPU{'' if about.gpus == 1 else 's'}")
    if unknown := why_unknown(about, NODE):
        return unknown
    if not about.site:
        return not_tried(f"the program did not start: {why_failed(about)}")
    if not about.probe:
        finding = about.message or telling(about.log)
        if "all-reduce" not in about.log + finding or about.state in _NOT_FAILED:
            return not_tried(f"the program ended before: {telling(about.log) or finding}")
        return broken(
            finding,
            'env: {NCCL_P2P_DISABLE: "1"} in a job often helps, else fewer GPUs a job; tell the '
            "site: its GPUs cannot exchange data",
        )
    again = about.probe.get("again_s")
    text = f"{about.probe['replicas']} GPUs: the first took {about.probe['all_reduce_s']:.2f} s"
    return kept(f"{text}, one of {about.probe['mb']} MB {again:.3f} s" if again else text)
