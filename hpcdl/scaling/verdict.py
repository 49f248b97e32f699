"""What the sizes of a scaling report say: how many GPUs to ask for, and what to change. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hpcdl.formats import percent, seconds, several
from hpcdl.scaling.sizes import ENOUGH_GAIN, Measured, Size, Whole, best_of, sizes_of

_GOOD = 0.8  # an efficiency from here on needs no advice
_MUCH_LOST = 0.1  # a share of the time from here on is worth an advice
_MUCH_SAVED = 0.02
_UNEVEN = 0.2  # epochs that lie farther apart than this share of their median
_BUSY = 0.85  # the share of its CPUs at which a program has none left
_NEAR = 0.85  # of what its input can bring: a training that fast waits for it
_FEW_ROWS = 32  # on a GPU, in a step


@dataclass(frozen=True)
class Setting:
    """How the runs were made.

    Args:
        per_gpu: rows of a step on each GPU, if the batch grows with the GPUs; else None.
        is_emulated: whether CPU devices stood in for the GPUs.
        reads_again: whether images are read again in each epoch (data.cache: none).
    """

    per_gpu: int | None = None
    is_emulated: bool = False
    reads_again: bool = False


@dataclass(frozen=True)
class Change:
    """What to change: in words, and the options of `hpcdl submit` that do it, if some do."""

    text: str
    options: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the sizes say.

    Args:
        sizes: the sizes that measured something.
        best: the largest that pays; None if fewer than two measured something.
        options: the options of `hpcdl submit` for it.
        sentences: what was found, the most important first.
        changes: what would make more GPUs pay.
        missing: why a size measured nothing.
    """

    sizes: Sequence[Size] = ()
    best: Size | None = None
    options: str = ""
    sentences: Sequence[str] = ()
    changes: Sequence[Change] = field(default_factory=list)
    missing: Sequence[str] = ()


def judge(measured: Sequence[Measured], whole: Whole | None, setting: Setting) -> Verdict:
    """Judge what the runs of all sizes measured."""
    sizes = sizes_of(measured, whole)
    missing = []
    for one in measured:
        if one.problem:
            missing.append(f"{size_text(one)}: {one.problem}")
    if len(sizes) < 2:
        count = "one size" if sizes else "no size"
        sentence = f"Only {count} measured something: there is nothing to compare yet."
        if not sizes:
            sentence = "No size has measured anything yet."
        return Verdict(sizes, sentences=[sentence], missing=missing)
    best = best_of(sizes)
    return Verdict(
        sizes=sizes,
        best=best,
        options=_options(best.measured),
        sentences=_sentences(sizes, best, setting),
        changes=_changes(sizes, best, setting),
        missing=missing,
    )


def size_text(measured: Measured) -> str:
    """A size in words: 4 GPUs, 2 nodes with 4 GPUs each, the CPU."""
    gpus = several(measured.gpus, "GPU") if measured.gpus else "the CPU"
    if measured.nodes == 1:
        return gpus
    return f"{several(measured.nodes, 'node')} with {gpus} each"


def _begins(measured: Measured) -> str:
    """A size at the beginning of a sentence."""
    text = size_text(measured)
    return text[0].upper() + text[1:]


def _options(measured: Measured) -> str:
    options = f"--set resources.gpus={measured.gpus}"
    if measured.nodes > 1:
        options += f" --set resources.nodes={measured.nodes}"
    return options


def _sentences(sizes: Sequence[Size], best: Size, setting: Setting) -> list[str]:
    sentences = [_headline(sizes, best)]
    if setting.is_emulated:
        sentences.insert(
            0,
            "CPU devices stood in for the GPUs: the figures show that the job runs at each size, "
            "and say nothing about real GPUs.",
        )
    sentences.append(_about_batch(sizes, setting))
    last = sizes[-1]
    if sizes[0].measured.input_rate and _waits_for_input(sizes[0]):
        sentences.append(
            f"{_begins(sizes[0].measured)}, the smallest size, waits for its input already: alone "
            f"it brings {sizes[0].measured.input_rate:,.0f} images/s."
        )
    if last.efficiency < 1:
        sentences.append(_about_loss(last, sizes[0].measured, setting))
    uneven = [size_text(size.measured) for size in sizes if size.measured.spread > _UNEVEN]
    unclear = [size_text(size.measured) for size in sizes if not size.is_clear]
    if unclear:
        sentences.append(
            f"Whether {' and '.join(unclear)} pay is not clear: the epochs lie too far apart. "
            "Measure longer: --steps 1000."
        )
    elif uneven:
        sentences.append(
            f"The epochs of {' and '.join(uneven)} differ by more than {percent(_UNEVEN, 0)}: "
            "something else slows them at times."
        )
    return sentences


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
    brought = "nothing" if (after.gain or 0.0) <= 0 else percent(after.gain, 0)
    return (
        f"{text}. {_begins(after.measured)} do not pay: the added GPUs bring "
        f"{brought} of what they would bring without a loss, and from {percent(ENOUGH_GAIN, 0)} "
        "on it would pay."
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
    lost = percent(1 - last.efficiency, 0)
    others = "adding up the gradients and waiting for the slowest GPU"
    if setting.per_gpu is None:
        others += ", or to steps that are too small"
    text = f"{_begins(last.measured)} lose {lost} (measured)"
    if last.measured.input_rate:
        return f"{text}. {_about_input(last, first, others)}"
    if last.input_lost is None or last.other_lost is None:
        return (
            f"{text}. To what is not known, as nothing told the use of the devices meanwhile: to "
            f"input, to {others}."
        )
    return (
        f"{text}. As the GPUs are {last.measured.gpu_use_percent:.0f} % busy, and "
        f"{first.gpu_use_percent:.0f} % at the smallest size, about "
        f"{percent(last.input_lost, 0)} go to waiting for input or the host, and "
        f"{percent(last.other_lost, 0)} to {others} (inferred)."
    )


def _about_input(last: Size, first: Measured, others: str) -> str:
    """What the input alone can do, held against what is needed of it."""
    needed = first.rate * last.measured.all_gpus / first.all_gpus
    alone = f"Input alone, without the model, brings {last.measured.input_rate:,.0f} images/s there"
    rest = percent(last.other_lost, 0)
    if not last.input_lost:
        return (
            f"{alone}, and {needed:,.0f} would be needed without a loss (measured): it is lost to "
            f"{others} (inferred)."
        )
    return (
        f"{alone}, but {needed:,.0f} would be needed without a loss: at least "
        f"{percent(last.input_lost, 0)} are lost to input (measured), up to {rest} to {others} "
        "(inferred)."
    )


def _changes(sizes: Sequence[Size], best: Size, setting: Setting) -> list[Change]:
    changes = []
    first, last = sizes[0].measured, sizes[-1]
    if last.efficiency < _GOOD:
        changes += _larger_batch(first, last, setting)
    if _waits_for_input(last):
        text = (
            "Feed the GPUs faster: pack a folder of images (hpcdl data pack), ask for more CPUs "
            "(resources.cpus), or augment less"
        )
        changes.append(Change(text))
        if setting.reads_again:
            changes.append(
                Change("Keep the images in memory, if they fit", "--set data.cache=memory")
            )
    if (best.save_lost or 0.0) > _MUCH_SAVED:
        changes.append(
            Change(
                f"Save less often: a checkpoint holds the training up for up to "
                f"{seconds(best.measured.save_s)}",
                "--set cluster.save_every_s=1800",
            )
        )
    return changes


def _larger_batch(first: Measured, last: Size, setting: Setting) -> list[Change]:
    """More work a step for each GPU, if the loss may come from too little of it."""
    rows = last.measured.batch_rows // last.measured.all_gpus
    if setting.per_gpu is None:
        each = max(1, first.batch_rows // first.all_gpus)
        text = (
            f"Let the batch grow with the GPUs: {each} rows on each, as at the smallest size. "
            "An epoch then has fewer steps, and may want a higher learning rate "
            "(train.scale_learning_rate)"
        )
        return [Change(text, f"--set train.batch_size_per_gpu={each}")]
    other_lost = last.other_lost
    if rows < _FEW_ROWS or other_lost is None or other_lost > _MUCH_LOST:
        text = (
            "Give each GPU more rows a step, if its memory allows: gradients are added up once a "
            "step, whatever its size"
        )
        return [Change(text, f"--set train.batch_size_per_gpu={2 * setting.per_gpu}")]
    return []


def _waits_for_input(size: Size) -> bool:
    if (size.input_lost or 0.0) > _MUCH_LOST:
        return True
    one = size.measured
    if one.input_rate:
        return one.rate >= _NEAR * one.input_rate
    has_busy_cpus = one.cpus_busy is not None and one.cpus_busy >= _BUSY * max(1, one.cpus)
    return has_busy_cpus and one.gpu_use_percent is not None and one.gpu_use_percent < 100 * _GOOD
