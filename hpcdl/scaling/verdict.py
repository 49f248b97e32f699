"""What the sizes of a scaling report say: how many GPUs to ask for, and what to change. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpcdl.formats import seconds
from hpcdl.scaling.sentences import (
    Setting,
    has_expected_batches,
    sentences_of,
    unlike_batches,
    waits_for_input,
)
from hpcdl.scaling.sizes import Measured, Size, Whole, best_of, size_text, sizes_of

_GOOD = 0.8  # an efficiency from here on needs no advice
_MUCH_LOST = 0.1  # a share of the time from here on is worth an advice
_MUCH_SAVED = 0.02
_FEW_ROWS = 32  # on a GPU, in a step


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
        best: the largest that pays; None if there are not two that can be compared.
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
    if not has_expected_batches(sizes, setting):
        return Verdict(sizes, sentences=[unlike_batches(sizes)], missing=missing)
    best = best_of(sizes)
    return Verdict(
        sizes=sizes,
        best=best,
        options=_options(best.measured, setting),
        sentences=sentences_of(sizes, best, whole, setting),
        changes=_changes(sizes, best, setting),
        missing=missing,
    )


def _options(measured: Measured, setting: Setting) -> str:
    """The options of `hpcdl submit` for a size, with those that it was measured with."""
    texts = [*setting.sets, f"resources.gpus={measured.gpus}"]
    if setting.names_nodes:
        texts.append(f"resources.nodes={measured.nodes}")
    return " ".join(f"--set {shlex.quote(text)}" for text in texts)


def _changes(sizes: Sequence[Size], best: Size, setting: Setting) -> list[Change]:
    changes = []
    first, last = sizes[0].measured, sizes[-1]
    if last.efficiency < _GOOD:
        changes += _larger_batch(first, last, setting)
    if waits_for_input(last):
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
    lost_to_others = (last.all_reduce_lost or 0.0) + (last.other_lost or 0.0)
    if rows < _FEW_ROWS or lost_to_others > _MUCH_LOST:
        text = (
            "Give each GPU more rows a step, if its memory allows: gradients are added up once a "
            "step, whatever its size"
        )
        return [Change(text, f"--set train.batch_size_per_gpu={2 * setting.per_gpu}")]
    return []
