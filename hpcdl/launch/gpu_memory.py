"""The memory of this node's GPUs, and the share of it that one of several trials may take."""

from __future__ import annotations

import os
import subprocess

from hpcdl.errors import RunError
from hpcdl.planning import Plan, Training

# CUDA's context and its libraries' own memory, of each process: TensorFlow's bound leaves it out
OUTSIDE_MB = 1024
_LEAST_MB = 1024  # less is not worth a trial
_QUERY = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
_ANSWER_S = 60.0


def share_of_trial(plan: Plan, trials_per_gpu: int) -> int | None:
    """What a trial writes as ``devices.memory_mb``; None if it has its GPU alone, or has none.

    Raises:
        RunError: see `memory_share_mb`.
    """
    on_gpu = plan.size.gpus > 0 and not plan.size.emulate_gpus
    if not on_gpu or trials_per_gpu == 1 or not isinstance(plan.program, Training):
        return None
    return memory_share_mb(trials_per_gpu)


def memory_share_mb(trials_per_gpu: int) -> int:
    """MiB that TensorFlow may take for each of the trials that share a GPU of this node.

    Args:
        trials_per_gpu: how many trials share one GPU.

    Returns:
        an equal share of the smallest GPU, less `OUTSIDE_MB`.

    Raises:
        RunError: the GPUs do not tell their memory, or too little is left for a trial.
    """
    total_mb = min(gpu_memory_mb())
    share_mb = total_mb // trials_per_gpu - OUTSIDE_MB
    if share_mb < _LEAST_MB:
        most = total_mb // (OUTSIDE_MB + _LEAST_MB)
        raise RunError(
            f"a GPU here has {total_mb} MiB, which leaves {share_mb} MiB for each of "
            f"{trials_per_gpu} trials; expected {_LEAST_MB} MiB or more: "
            f"use trials_per_gpu: {max(1, most)} or less"
        )
    return share_mb


def gpu_memory_mb() -> list[int]:
    """The memory of each GPU that this process's job may see, in MiB.

    Raises:
        RunError: nvidia-smi does not tell, or the job has parts of GPUs (MIG).
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if "MIG-" in visible:
        raise RunError(
            f"CUDA_VISIBLE_DEVICES={visible} names parts of GPUs, whose memory nvidia-smi does "
            "not tell; use trials_per_gpu: 1"
        )
    try:
        answer = subprocess.run(
            _QUERY, capture_output=True, encoding="utf-8", errors="replace", timeout=_ANSWER_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unknown(str(error)) from error
    lines = answer.stdout.split()
    if answer.returncode != 0 or not lines or not all(line.isdigit() for line in lines):
        raise _unknown((answer.stdout + answer.stderr).strip())
    return [int(line) for line in lines]


def _unknown(reason: str) -> RunError:
    return RunError(
        f"trials_per_gpu needs the memory of this node's GPUs; {' '.join(_QUERY)} says: {reason}; "
        "try it in a job on that node, or use trials_per_gpu: 1"
    )
