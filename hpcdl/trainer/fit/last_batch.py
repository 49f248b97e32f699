"""The last batch of an epoch: a warning where it holds so few rows that they count too much."""

from typing import Callable, Optional

_SMALL_SHARE = 0.1


def warning_of_last_batch(rows: int, batch_size: int) -> Optional[str]:
    """What to say of an epoch's last batch if it is below a tenth of the others; else None.

    Each batch moves the weights by the mean of its rows, so one row left over counts as much as
    a hundred in another batch. In a training of 5,401 rows in batches of 100 with SGD, that row
    ruined the epoch's accuracy.

    Args:
        rows: rows of an epoch.
        batch_size: rows of a batch.
    """
    left = rows % batch_size
    if rows < batch_size or left == 0 or left >= _SMALL_SHARE * batch_size:
        return None
    smaller = _nearest(rows, batch_size, lambda size: size - 1)
    larger = _nearest(rows, batch_size, lambda size: size + 1)
    sizes = " or ".join(str(size) for size in (smaller, larger) if size is not None)
    message = (
        "the last batch of each epoch has {} of {} rows, and moves the weights as much as a"
        " whole one; try train.batch_size {}"
    )
    return message.format(left, batch_size, sizes)


def _nearest(rows: int, batch_size: int, following: Callable[[int], int]) -> Optional[int]:
    """The nearest size on one side whose last batch is at least half full, or None."""
    size = following(batch_size)
    while 1 <= size <= rows:
        left = rows % size
        if left == 0 or 2 * left >= size:
            return size
        size = following(size)
    return None
