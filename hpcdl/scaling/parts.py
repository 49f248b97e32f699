"""Where the time of the whole job goes at each size: parts that add up to it."""

from __future__ import annotations

from hpcdl.scaling.sizes import Size

USEFUL = "training without a loss"
START, SAVING = "start", "saving, at most"
INPUT, ALL_REDUCE, REST = "lost to input", "lost to all-reduce, at most", "lost to the rest"
PARTS = (USEFUL, INPUT, ALL_REDUCE, REST, SAVING, START)


def seconds_of_parts(size: Size) -> dict[str, float]:
    """Seconds of each part of the whole job, by name; none if its time is not known.

    Without a loss trains who is as fast on each GPU as the smallest size.

    Args:
        size: a size in comparison with the smallest one.
    """
    if size.whole_s is None or size.measured.start_s is None:
        return {}
    running_s = size.whole_s - size.measured.start_s
    saving_s = running_s * (size.save_lost or 0.0)
    training_s = running_s - saving_s
    return {
        USEFUL: training_s * min(1.0, size.efficiency),
        INPUT: training_s * (size.input_lost or 0.0),
        ALL_REDUCE: training_s * (size.all_reduce_lost or 0.0),
        REST: training_s * (size.other_lost or 0.0),
        SAVING: saving_s,
        START: size.measured.start_s,
    }
