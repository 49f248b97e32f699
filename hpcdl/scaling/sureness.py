"""How sure the advice of a scaling report is, by the epochs that its runs measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpcdl.formats import percent, seconds
from hpcdl.scaling.sizes import Size, Whole, size_text

_UNEVEN = 0.2  # epochs that lie farther apart than this share of their median
_TOO_GOOD = 1.1  # an efficiency that more GPUs alone do not bring
_SHORT_EPOCH_S = 2.0  # one that is shorter tells no speed to rely on
_ENOUGH_EPOCH_S = 5.0
_MORE_STEPS = 1000
_EPOCHS = 4  # of a run


def how_sure(sizes: Sequence[Size], whole: Whole | None, steps: int) -> str:
    """Whether the advice holds whichever of the measured epochs counts, and what to do if not.

    Args:
        sizes: from the fewest GPUs to the most.
        whole: the whole job; None if it is not known.
        steps: about how many steps each run trained; 0 if that is not known.
    """
    text, is_clear = _sureness(sizes)
    short = [size.measured for size in sizes if 0 < size.measured.epoch_s < _SHORT_EPOCH_S]
    if short:
        shortest = min(short, key=lambda measured: measured.epoch_s)
        joined = "But" if is_clear else "And"
        text += (
            f" {joined} an epoch of {size_text(shortest)} took only {seconds(shortest.epoch_s)}, "
            "too short to rely on."
        )
    if is_clear and not short:
        return text
    more_steps = _longer(sizes, whole, steps)
    if not more_steps:
        return f"{text} Measure again."
    return f"{text} Measure longer: --steps {more_steps}."


def _sureness(sizes: Sequence[Size]) -> tuple[str, bool]:
    """What the epochs say about the advice, and whether they make it clear."""
    single = [size for size in sizes if len(size.measured.rates) < 2]
    unclear = [size for size in sizes if not size.is_clear]
    uneven = [size for size in sizes if size.measured.spread > _UNEVEN]
    too_fast = [size for size in sizes if size.efficiency > _TOO_GOOD]
    if single:
        return f"How sure this is cannot be told: one epoch of {_named(single)} counts.", False
    if too_fast:
        text = (
            f"This is not to be relied on: {_named(too_fast)} are faster than without a loss. "
            f"Something else slowed {size_text(sizes[0].measured)}, such as files that were read "
            "for the first time, or other programs on its node."
        )
        return text, False
    widest = percent(max(size.measured.spread for size in sizes), 0)
    if unclear:
        text = f"Whether {_named(unclear)} pay is not clear: the epochs of a run differ by up to"
        return f"{text} {widest}.", False
    if uneven:
        text = (
            f"The advice is the same whichever of the epochs count, but those of {_named(uneven)} "
            f"differ by up to {widest}: something else slows them at times."
        )
        return text, False
    text = (
        f"This is clear, as far as one run of each size tells: its epochs differ by up to {widest},"
        " and whichever of them count, the advice is the same."
    )
    return text, True


def _longer(sizes: Sequence[Size], whole: Whole | None, steps: int) -> int:
    """With how many steps to measure again; 0 if the runs cannot be longer, or nobody knows."""
    if not steps:
        return 0
    longer = max(_MORE_STEPS, 4 * steps)
    for size in sizes:
        if size.measured.epoch_s:
            needed = steps * _ENOUGH_EPOCH_S / size.measured.epoch_s
            longer = max(longer, math.ceil(needed / 100) * 100)
    if whole is not None:  # an epoch has no more than all rows
        rows = max(1, max(size.measured.batch_rows for size in sizes))
        longer = min(longer, _EPOCHS * math.ceil(whole.rows / rows))
    return longer if longer > steps else 0


def _named(sizes: Sequence[Size]) -> str:
    return " and ".join(size_text(size.measured) for size in sizes)
