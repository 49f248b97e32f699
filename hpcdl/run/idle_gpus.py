"""Why a running program uses little of its GPUs, by its newest samples. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcdl.formats import several
from hpcdl.run.device_samples import Sample
from hpcdl.run.device_summary import DeviceSummary, summary_of

LITTLE_PERCENT = 20.0  # a mean use below this is worth a word
WINDOW_S = 600.0  # for so long
_UNUSED_PERCENT = 1.0  # a GPU below this did nothing
_GAP_S = 60.0  # of the window, that samples may leave out
_BUSY = 0.85  # the share of its CPUs at which a program has none left
_READS_MB_S = 50.0  # at which reading is a part of the work
_WAITS = 0.3  # a program that keeps fewer CPUs busy waits
WAITS_FOR_WORKER = "it waits for another worker"
# Phases of a trainer in which a GPU should be busy
_COMPUTES = ("features", "training", "evaluating", "predicting")


@dataclass(frozen=True)
class Setting:
    """What is known of the run besides its samples.

    Args:
        cpus: how many CPUs it may use on a node.
        nodes: how many nodes it has.
        phase: what the trainer does, by its heartbeat; None for a script.
        now: the present time (unix time).
    """

    cpus: int
    nodes: int = 1
    phase: str | None = None
    now: float = 0.0


def why_idle(samples: Sequence[Sample], setting: Setting) -> str:
    """Why the GPUs of a running program do little, in a few words.

    Args:
        samples: the newest ones, in order.
        setting: what is known besides.

    Returns:
        "" if they do enough, or if the last 10 minutes are not known.
    """
    window = _window(samples, setting.now)
    known_s = sum(sample.seconds for sample in window if any(map(_is_known, sample.use)))
    if known_s < WINDOW_S - _GAP_S:
        return ""
    summary = summary_of(window)
    if summary.gpu_use_percent is None:
        return ""
    unused = sum(use is not None and use < _UNUSED_PERCENT for use in summary.use_by_gpu)
    gpus = len(summary.use_by_gpu)
    if 0 < unused < gpus:
        return f"{unused} of its {gpus} GPUs do nothing: ask for {several(gpus - unused, 'GPU')}"
    if summary.gpu_use_percent >= LITTLE_PERCENT:
        return ""
    noun = "GPU is" if gpus == 1 else "GPUs are"
    return f"its {noun} {summary.gpu_use_percent:.0f} % busy: {_reason(summary, setting)}"


def _window(samples: Sequence[Sample], now: float) -> list[Sample]:
    """The samples of the last 10 minutes, all of the last attempt."""
    window = []
    for sample in samples:
        if sample.attempt == samples[-1].attempt and now - sample.time < WINDOW_S:
            window.append(sample)
    return window


def _is_known(value: float | None) -> bool:
    return value is not None


def _reason(summary: DeviceSummary, setting: Setting) -> str:
    """The likely reason, the one first that shows most clearly."""
    if setting.phase is not None and setting.phase not in _COMPUTES:
        return f"it is {setting.phase}"
    busy, read_mb_s = summary.cpus_busy, summary.read_mb_s or 0.0
    if busy is not None and busy >= _BUSY * setting.cpus:
        cpus = "CPU is" if setting.cpus == 1 else f"{setting.cpus} CPUs are"
        return f"its input is slow, its {cpus} busy"
    if read_mb_s >= _READS_MB_S:
        return f"its input is slow, it reads {read_mb_s:.0f} MB/s"
    if busy is not None and busy < _WAITS:
        if setting.nodes > 1:
            return WAITS_FOR_WORKER
        return "its CPUs are idle, too: it waits for something"
    return "its batches may be too small for them"
