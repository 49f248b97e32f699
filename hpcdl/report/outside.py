"""Which new images look unlike any image of a run's test, so that its test says nothing of them.

Each number of `hpcdl.trainer.dataset.looks` has a range in the test, from the least to the largest
value. An image is *far outside* if one of its numbers lies beyond that range by more than half of
the range's width: a negative of a digit is brighter than every digit by far. The bound is a
convention, as Tukey's fences are; benchmarks/README.md tells what it finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcdl.report.two_samples import exceedance_p
from hpcdl.trainer.dataset.looks import LOOKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

MANY = 0.1  # of the images: as many points of accuracy could be lost without a sign
_BEYOND = 0.5  # of the width of the test's range


@dataclass(frozen=True)
class Outside:
    """The images far outside of the test's range.

    share: of all new images.
    ps: the p of each of `LOOKS`: how likely that many lie that far out by chance.
    """

    share: float
    ps: dict[str, float]


def find_outside(test: NDArray[Any], new: NDArray[Any]) -> Outside:
    """Compare what images look like with the range of those of a test.

    Args:
        test: (rows, 5), by `hpcdl.trainer.dataset.looks`; at least one row.
        new: the same of the new images.
    """
    lowest, highest = test.min(axis=0), test.max(axis=0)
    margin = _BEYOND * (highest - lowest)
    is_below, is_above = new < lowest - margin, new > highest + margin
    ps = {}
    for column, name in enumerate(LOOKS):
        sides = (is_below[:, column].sum(), is_above[:, column].sum())
        p_of_sides = [exceedance_p(len(test), len(new), int(count)) for count in sides]
        ps[name] = min(1.0, 2 * min(p_of_sides))
    return Outside(float((is_below | is_above).any(axis=1).mean()), ps)
