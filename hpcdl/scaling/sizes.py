"""The sizes that a scaling report compares: what a short run measured, and figures of each size."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hpcdl.formats import several

_HOUR_S = 3600.0
ENOUGH_GAIN = 0.5  # of what the added GPUs would bring if none of it were lost


@dataclass(frozen=True)
class Measured:
    """What the short run of a size measured. None: it is not known.

    Args:
        gpus: GPUs of a node; 0 is the CPU.
        nodes: how many nodes.
        rates: images a second of each epoch after the first one.
        batch_rows: rows of a step, of all GPUs together.
        start_s: seconds from the start of the job to full speed.
        start_parts: seconds of the parts of that, by name.
        input_rate: images a second that the input brings without the model.
        all_reduce_s: seconds in which all GPUs add up the gradients of a step, without the model.
        save_s: seconds for which a checkpoint held the training up.
        gpu_use_percent: the share of time in which a GPU computed anything, after the first epoch.
        cpus_busy: how many CPUs were busy meanwhile.
        cpus: how many CPUs it had on a node.
        epoch_s: seconds of an epoch after the first one.
        seconds: how long the run took.
        problem: why the run measured nothing; "" if it did.
    """

    gpus: int
    nodes: int = 1
    rates: Sequence[float] = ()
    batch_rows: int = 0
    start_s: float | None = None
    start_parts: Mapping[str, float] = field(default_factory=dict)
    save_s: float | None = None
    input_rate: float | None = None
    all_reduce_s: float | None = None
    gpu_use_percent: float | None = None
    cpus_busy: float | None = None
    cpus: int = 0
    epoch_s: float = 0.0
    seconds: float = 0.0
    problem: str = ""

    @property
    def all_gpus(self) -> int:
        """The GPUs of all nodes; the CPU counts as one."""
        return max(1, self.gpus) * self.nodes

    @property
    def rate(self) -> float:
        """Images a second: the median of its epochs."""
        return statistics.median(self.rates)

    @property
    def spread(self) -> float:
        """How far its epochs lie apart, as a share of the median."""
        return (max(self.rates) - min(self.rates)) / self.rate


@dataclass(frozen=True)
class Whole:
    """The whole job, of which the runs measured a short part.

    Args:
        rows: all training rows.
        passes: how often it trains on all of them.
        save_every_s: seconds between two checkpoints.
    """

    rows: int
    passes: float
    save_every_s: float


@dataclass(frozen=True)
class Size:
    """A size in comparison with the smallest one. None: it is not known.

    Args:
        measured: what its run measured.
        speed_up: how many times the images a second of the smallest size.
        efficiency: the speed-up, as a share of the growth in GPUs.
        gain: what the added GPUs brought, as a share of what they would bring without a loss; in
            comparison with the largest smaller size that pays.
        gain_range: the least and the most that it may be, by the epochs that lie farthest apart.
        input_lost: the share that is lost to input: of it at least, if the input was measured.
        all_reduce_lost: the share that is lost to adding up gradients, at most: part of it may be
            done while others are computed.
        other_lost: the rest of what is lost. With the efficiency, the three add up to 1.
        save_lost: the share of the time that saving checkpoints takes.
        whole_s: seconds of the whole job at this size.
    """

    measured: Measured
    speed_up: float
    efficiency: float
    gain: float | None = None
    gain_range: tuple[float, float] | None = None
    input_lost: float | None = None
    all_reduce_lost: float | None = None
    other_lost: float | None = None
    save_lost: float | None = None
    whole_s: float | None = None

    @property
    def pays(self) -> bool:
        """Whether the added GPUs bring enough; the smallest size does."""
        return self.gain is None or self.gain >= ENOUGH_GAIN

    @property
    def is_clear(self) -> bool:
        """Whether the epochs lie so close together that it is clear whether it pays."""
        if self.gain is None:
            return True
        if self.gain_range is None:
            return False
        least, most = self.gain_range
        return least >= ENOUGH_GAIN or most < ENOUGH_GAIN

    @property
    def whole_gpu_hours(self) -> float | None:
        """GPU-hours of the whole job at this size."""
        if self.whole_s is None:
            return None
        return self.measured.all_gpus * self.whole_s / _HOUR_S


def sizes_of(measured: Sequence[Measured], whole: Whole | None = None) -> list[Size]:
    """The sizes whose runs measured something, from the fewest GPUs to the most.

    Args:
        measured: what was measured.
        whole: the whole job; None if it is not known.
    """
    ordered = [one for one in measured if one.rates and not one.problem]
    ordered.sort(key=lambda one: (one.all_gpus, one.nodes))
    sizes: list[Size] = []
    for one in ordered:
        sizes.append(_size(one, sizes, whole))
    return sizes


def size_text(measured: Measured) -> str:
    """A size in words: 4 GPUs, 2 nodes with 4 GPUs each, the CPU."""
    gpus = several(measured.gpus, "GPU") if measured.gpus else "the CPU"
    if measured.nodes == 1:
        return gpus
    return f"{several(measured.nodes, 'node')} with {gpus} each"


def best_of(sizes: Sequence[Size]) -> Size:
    """The largest size that pays, of at least one."""
    return [size for size in sizes if size.pays][-1]


def _size(one: Measured, smaller: Sequence[Size], whole: Whole | None) -> Size:
    save_lost = None if whole is None else _save_lost(one, whole)
    whole_s = None if whole is None else _whole_s(one, whole, save_lost or 0.0)
    if not smaller:
        return Size(one, 1.0, 1.0, save_lost=save_lost, whole_s=whole_s)
    first, before = smaller[0].measured, best_of(smaller).measured
    speed_up = one.rate / first.rate
    efficiency = speed_up * first.all_gpus / one.all_gpus
    gain, gain_range = _gain(one, before)
    input_lost = _lost_to_input(one, first, efficiency)
    all_reduce_lost = _lost_to_all_reduce(one, efficiency, input_lost or 0.0)
    other_lost = max(0.0, 1 - efficiency) - (input_lost or 0.0) - (all_reduce_lost or 0.0)
    return Size(
        measured=one,
        speed_up=speed_up,
        efficiency=efficiency,
        gain=gain,
        gain_range=gain_range,
        input_lost=input_lost,
        all_reduce_lost=all_reduce_lost,
        other_lost=max(0.0, other_lost),
        save_lost=save_lost,
        whole_s=whole_s,
    )


def _gain(one: Measured, before: Measured) -> tuple[float | None, tuple[float, float] | None]:
    """What more GPUs brought of what they would bring without a loss, and its range.

    With one epoch of each nothing tells how far they may lie apart: there is no range.
    """
    growth = one.all_gpus / before.all_gpus - 1
    if not growth:  # as many GPUs on more nodes: they pay if they are faster
        apart = min(one.rates) > max(before.rates) or max(one.rates) < min(before.rates)
        gain = 1.0 if one.rate > before.rate else 0.0
        return gain, ((gain, gain) if apart else None)
    if min(len(one.rates), len(before.rates)) < 2:
        return (one.rate / before.rate - 1) / growth, None
    least = (min(one.rates) / max(before.rates) - 1) / growth
    most = (max(one.rates) / min(before.rates) - 1) / growth
    return (one.rate / before.rate - 1) / growth, (least, most)


def _lost_to_input(one: Measured, first: Measured, efficiency: float) -> float | None:
    """The share that is lost to waiting for input.

    A training cannot be faster than its input. If the input alone is too slow for the growth in
    GPUs, what it lacks is lost to it, whatever else is lost.

    Where the input was not measured, idle GPUs tell it. One that adds up gradients, or waits for
    others to do so, counts as busy: NCCL's kernels run meanwhile. So an idle one waits for the
    host: for its input, or for the next kernel.
    """
    if efficiency >= 1:
        return 0.0
    if one.input_rate:
        reachable = one.input_rate * first.all_gpus / (first.rate * one.all_gpus)
        return min(max(0.0, 1 - reachable), 1 - efficiency)
    if not one.gpu_use_percent or not first.gpu_use_percent:
        return None
    waits = 1 - one.gpu_use_percent / first.gpu_use_percent
    return min(max(0.0, waits), 1 - efficiency)


def _lost_to_all_reduce(one: Measured, efficiency: float, input_lost: float) -> float | None:
    """The share of a step in which gradients are added up, at most all that input does not lose."""
    if efficiency >= 1:
        return 0.0
    if not one.all_reduce_s or not one.batch_rows:
        return None
    step_s = one.batch_rows / one.rate
    return min(one.all_reduce_s / step_s, 1 - efficiency - input_lost)


def _save_lost(one: Measured, whole: Whole) -> float | None:
    if one.save_s is None:
        return None
    return one.save_s / (one.save_s + whole.save_every_s)


def _whole_s(one: Measured, whole: Whole, save_lost: float) -> float | None:
    if one.start_s is None:
        return None
    training_s = whole.passes * whole.rows / one.rate
    return one.start_s + training_s / (1 - save_lost)
