"""What the figures of a scaling report say in words, the most important first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcdl.formats import percent
from hpcdl.scaling.sizes import ENOUGH_GAIN, Measured, Size, Whole, size_text
from hpcdl.scaling.sureness import how_sure

_NEAR = 0.85  # of what its input can bring: a training that fast waits for it
_MUCH_LOST = 0.1  # a share of the time from here on is worth an advice
_BUSY = 0.85  # the share of its CPUs at which a program has none left
_GOOD_USE_PERCENT = 80.0


@dataclass(frozen=True)
class Setting:
    """How the runs were made.

    Args:
        per_gpu: rows of a step on each GPU, if the batch grows with the GPUs; else None.
        is_emulated: whether CPU devices stood in for the GPUs.
        reads_again: whether images are read again in each epoch (data.cache: none).
        sets: the ``key=value`` texts with which the job was measured.
        steps: about how many steps each run trained; 0 if that is not known.
        names_nodes: whether a recommendation must say how many nodes.
    """

    per_gpu: int | None = None
    is_emulated: bool = False
    reads_again: bool = False
    sets: Sequence[str] = ()
    steps: int = 0
    names_nodes: bool = False


def sentences_of(
    sizes: Sequence[Size], best: Size, whole: Whole | None, setting: Setting
) -> list[str]:
    """What was measured, the most important first.

    Args:
        sizes: at least two, from the fewest GPUs to the most.
        best: the one to take.
        whole: the whole job; None if it is not known.
        setting: how the runs were made.
    """
    sentences = []
    if setting.is_emulated:
        sentences.append(
            "CPU devices stood in for the GPUs: the figures show that the job runs at each size, "
            "and say nothing about real GPUs."
        )
    sentences.append(_headline(sizes, best))
    sentences.append(how_sure(sizes, whole, setting.steps))
    sentences.append(_about_batch(sizes, setting))
    first, last = sizes[0], sizes[-1]
    if first.measured.input_rate and waits_for_input(first):
        sentences.append(
            f"{_begins(first.measured)}, the smallest size, waits for its input already: alone "
            f"it brings {first.measured.input_rate:,.0f} images/s."
        )
    if last.efficiency < 1:
        sentences.append(_about_loss(last, first.measured, setting))
    return sentences


def waits_for_input(size: Size) -> bool:
    """Whether more GPUs would mostly wait for images."""
    if (size.input_lost or 0.0) > _MUCH_LOST:
        return True
    one = size.measured
    if one.input_rate:
        return one.rate >= _NEAR * one.input_rate
    if one.cpus_busy is None or one.gpu_use_percent is None:
        return False
    has_busy_cpus = one.cpus_busy >= _BUSY * max(1, one.cpus)
    return has_busy_cpus and one.gpu_use_percent < _GOOD_USE_PERCENT


def has_expected_batches(sizes: Sequence[Size], setting: Setting) -> bool:
    """Whether all sizes trained with the same batch, or with one that grew with their GPUs."""
    for size in sizes:
        expected = sizes[0].measured.batch_rows
        if setting.per_gpu is not None:
            expected = setting.per_gpu * size.measured.all_gpus
        if size.measured.batch_rows != expected:
            return False
    return True


def unlike_batches(sizes: Sequence[Size]) -> str:
    """Why sizes cannot be compared that do not have the expected batches."""
    texts = []
    for size in sizes:
        rows = size.measured.batch_rows
        texts.append(f"{rows if rows else 'not known'} with {size_text(size.measured)}")
    return (
        f"The runs have other batches than the job asks for (rows: {', '.join(texts)}). They are "
        "different trainings and cannot be compared: measure again."
    )


def _begins(measured: Measured) -> str:
    """A size at the beginning of a sentence."""
    text = size_text(measured)
    return text[0].upper() + text[1:]


def _headline(sizes: Sequence[Size], best: Size) -> str:
    """Which size to take, and why not the next one."""
    text = f"Take {size_text(best.measured)}"
    if best is not sizes[0]:
        text += f": {best.speed_up:.2g} times as fast as {size_text(sizes[0].measured)}"
        text += f", at {percent(best.efficiency, 0)} efficiency"
    larger = sizes[sizes.index(best) + 1 :]
    if not larger:
        return f"{text}. More GPUs than that were not measured."
    after = larger[0]
    if after.measured.all_gpus == best.measured.all_gpus:
        return f"{text}. {_begins(after.measured)} are not faster, with as many GPUs."
    compared = f"{_begins(after.measured)} do not pay"
    if (after.gain or 0.0) <= 0:
        return f"{text}. {compared}: they are not faster."
    return (
        f"{text}. {compared}: the added GPUs bring "
        f"{percent(after.gain, 0)} of what they would bring without a loss, and from "
        f"{percent(ENOUGH_GAIN, 0)} on it would pay."
    )


def _about_batch(sizes: Sequence[Size], setting: Setting) -> str:
    first, last = sizes[0].measured, sizes[-1].measured
    if setting.per_gpu is not None:
        return (
            f"The batch grows with the GPUs (train.batch_size_per_gpu {setting.per_gpu}): each GPU "
            "has the same work at all sizes (weak scaling). A larger batch also trains otherwise: "
            "compare the accuracy."
        )
    least, most = last.batch_rows / last.all_gpus, first.batch_rows / first.all_gpus
    return (
        f"The batch is the same at all sizes, {first.batch_rows} rows (strong scaling): a GPU "
        f"computes {most:.3g} rows a step at the smallest size, and {least:.3g} at the largest. "
        "Small steps leave a GPU partly idle, which counts as lost."
    )


def _about_loss(last: Size, first: Measured, setting: Setting) -> str:
    """What the largest size loses, and what of it is measured."""
    text = f"{_begins(last.measured)} lose {percent(1 - last.efficiency, 0)} (measured)"
    one = last.measured
    if last.input_lost is None:
        text += ". What of it is lost to input is not known, as nothing told it"
    elif one.input_rate:
        text += f". {_about_input(last, first)}"
    else:
        text += (
            f". The GPUs are {one.gpu_use_percent:.0f} % busy, and {first.gpu_use_percent:.0f} % "
            f"at the smallest size: about {percent(last.input_lost, 0)} go to waiting for input or "
            "the host (inferred)"
        )
    rest = percent(last.other_lost, 0)
    others = "waiting for the slowest GPU, and to all else"
    if setting.per_gpu is None:
        others = "steps that are too small, waiting for the slowest GPU, and to all else"
    if last.all_reduce_lost is None:
        return f"{text}. The rest, {rest}, goes to adding up the gradients, {others} (inferred)."
    return (
        f"{text}. Adding up the gradients takes {_milliseconds(one.all_reduce_s)} alone (measured) "
        f"of a step of {_milliseconds(one.batch_rows / one.rate)}: at most "
        f"{percent(last.all_reduce_lost, 0)}. The rest, {rest}, goes to {others} (inferred)."
    )


def _milliseconds(value_s: float | None) -> str:
    value_ms = 1000 * (value_s or 0.0)
    return f"{value_ms:.2g} ms" if value_ms < 10 else f"{value_ms:,.0f} ms"


def _about_input(last: Size, first: Measured) -> str:
    """What the input alone can do, compared with what is needed of it."""
    needed = first.rate * last.measured.all_gpus / first.all_gpus
    alone = f"Input alone, without the model, brings {last.measured.input_rate:,.0f} images/s there"
    if not last.input_lost:
        return (
            f"{alone}, and {needed:,.0f} would be needed without a loss: nothing needs to be lost "
            "to it (measured)"
        )
    return (
        f"{alone}, but {needed:,.0f} would be needed without a loss: at least "
        f"{percent(last.input_lost, 0)} are lost to input (measured)"
    )
