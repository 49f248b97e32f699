"""Where the time of the whole job goes at each size: parts that add up to it."""

from __future__ import annotations

from hpcdl.scaling.sizes import Size

USEFUL = "training without a loss"
START, SAVING = "start", "saving, at most"
INPUT, ALL_REDUCE, REST = "lost to input", "lost to all-reduce, at most", "lost to the rest"
PARTS = (USEFUL, INPUT, ALL_REDUCE, REST, SAVING, START)


def seconds_of_parts(size: Size) -> dict[str, float | None]:
    """Seconds of each part of the whole job, by name; no part if its time is not known.

    A training without a loss is as fast on each GPU as at the smallest size. What is lost in
    comparison with that is not known of the smallest size itself: None. What is not known of
    another size is in the rest.

    Args:
        size: a size in comparison with the smallest one.
    """
    if size.whole_s is None or size.measured.start_s is None:
        return {}
    running_s = size.whole_s - size.measured.start_s
    saving_s = running_s * (size.save_lost or 0.0)
    training_s = running_s - saving_s
    parts_s: dict[str, float | None] = {USEFUL: training_s * min(1.0, size.efficiency)}
    shares = {INPUT: size.input_lost, ALL_REDUCE: size.all_reduce_lost, REST: size.other_lost}
    for name, share in shares.items():
        parts_s[name] = None if share is None else training_s * share
    parts_s[SAVING] = None if size.save_lost is None else saving_s
    parts_s[START] = size.measured.start_s
    return parts_s
