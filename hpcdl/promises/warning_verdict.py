"""The verdict on the end of a job's time: is a training asked to save and stop early enough? Pure.

SLURM's warning asks, and so does hpcdl's own clock: whichever comes first. In the test SLURM's is
to come first, with a short lead, and the clock long after it, so that a training ends well without
SLURM's, too. A profile's own values are longer as a rule: what the short ones have shown holds for
them all the more, and where only the long ones would show it, the verdict says so.
"""

from __future__ import annotations

from hpcdl.cluster.schema import Cluster
from hpcdl.launch.deadline import Request
from hpcdl.promises.evidence import JobEvidence
from hpcdl.promises.names import STOP
from hpcdl.promises.verdict import (
    Verdict,
    broken,
    kept,
    not_tried,
    telling,
    why_failed,
    why_unknown,
)
from hpcdl.run import states

_SHORTEST_S = 30  # to save a model of usual size, and to end
_LEAD_S = 180  # the default of signal_lead_s
_MARGIN_S = 120  # of hpcdl's own clock, where it is all there is
_EARLY_S = 65  # SLURM's warning comes up to a minute early
_TIME_OVER = "DUE TO TIME LIMIT"  # slurmstepd's words


def warned(about: JobEvidence, cluster: Cluster) -> Verdict:
    """Whether a training is asked to stop before its time limit, and has the time to save."""
    if unknown := why_unknown(about, STOP):
        return unknown
    first, request = about.attempts[0], about.request
    in_time = first.reason == states.TIME_LIMIT and request is not None and request.is_in_time
    if first.reason != states.TIME_LIMIT and not _is_killed_by_limit(about):
        reason = (first.reason or "nobody knows why").replace("_", " ")
        end = about.left or why_failed(about)
        return not_tried(f"the training ended before its time limit ({reason}): {end}")
    if request is None and not _is_killed_by_limit(about):
        return not_tried(f"who asked the training to stop is not to be seen: {about.folder}/logs")
    if request is None:
        return _unasked(about, cluster)
    if request.by_clock:
        return _by_clock(about, cluster, request, in_time)
    if request.left_s > about.lead_s + _EARLY_S:
        return not_tried(
            f"it was asked to stop {request.left_s} s before its time limit, which is earlier than "
            "SLURM's warning comes: was it preempted? try again"
        )
    return _by_slurm(about, cluster, request, in_time)


def _is_killed_by_limit(about: JobEvidence) -> bool:
    """Whether SLURM ended the first attempt at its time limit."""
    if len(about.attempts) > 1 and about.attempts[0].reason != states.TIME_LIMIT:
        return False  # the words may be about a later one
    return _TIME_OVER in about.output or "TIMEOUT" in (about.queue, about.accounted)


def _by_slurm(about: JobEvidence, cluster: Cluster, request: Request, in_time: bool) -> Verdict:
    """SLURM's warning came first."""
    least_s = max(cluster.signal_lead_s, cluster.stop_margin_s)
    keys = f"signal_lead_s: {cluster.signal_lead_s}, stop_margin_s: {cluster.stop_margin_s}"
    came = f"SLURM's warning came {request.left_s} s before the time limit"
    if not in_time and least_s > request.left_s:
        return not_tried(
            f"{came}, and that was too late to save and end; whether the profile's {least_s} s are "
            f"enough ({keys}), no short test can show"
        )
    more = f"signal_lead_s: {_LEAD_S} gives a job more time to save"
    if not in_time:
        return broken(f"{came}, and it had not saved and ended", more, signal_lead_s=_LEAD_S)
    took_s = request.left_s - (request.ended_s or 0)
    if least_s < max(_SHORTEST_S, took_s):
        return broken(
            f"{came}, and {took_s} s later it had saved and ended; a job of yours has {least_s} s "
            f"for that ({keys}): too short to save a model and end",
            more,
            signal_lead_s=_LEAD_S,
        )
    return kept(f"{came}, and {took_s} s later it had saved and ended")


def _by_clock(about: JobEvidence, cluster: Cluster, request: Request, in_time: bool) -> Verdict:
    """hpcdl's own clock had to ask, or was early itself."""
    margin_s = cluster.stop_margin_s
    missing = f"no warning came {about.lead_s} s before the time limit"
    if request.left_s >= about.lead_s:
        missing = (
            f"hpcdl's own clock came before SLURM's warning was due, {request.left_s} s before the "
            "time limit, as it keeps three saves free, and they are slow here"
        )
    if margin_s >= _MARGIN_S and in_time:
        return kept(
            f"{missing}; hpcdl's own clock stops a training in time (stop_margin_s: {margin_s})",
            "a script of hpcdl render has no such clock: it needs SLURM's warning",
        )
    if margin_s >= _MARGIN_S:
        return _not_shown(missing, request.left_s, margin_s)
    if request.left_s >= about.lead_s:
        advice = f"a faster runs_root, or stop_margin_s: {_MARGIN_S}, which needs no warning"
        return not_tried(missing, advice)
    clock = f"hpcdl's own clock stopped it {request.left_s} s before"
    if not in_time:
        clock += ", and it had not saved and ended"
    return broken(
        f"{missing}; {clock}",
        "the site drops --signal: stop_margin_s must be long enough to save, as nothing else "
        "stops a training",
        stop_margin_s=_MARGIN_S,
    )


def _unasked(about: JobEvidence, cluster: Cluster) -> Verdict:
    """SLURM ended it at its time limit, and nobody had asked it to stop."""
    words = telling(about.output) or why_failed(about)
    finding = f"it was ended without a warning: {words}"
    if cluster.stop_margin_s >= _MARGIN_S:
        return _not_shown(finding, about.margin_s, cluster.stop_margin_s)
    return broken(
        finding,
        "stop_margin_s lets hpcdl's own clock stop a training earlier",
        stop_margin_s=_MARGIN_S,
    )


def _not_shown(finding: str, tried_s: int, margin_s: int) -> Verdict:
    return not_tried(
        f"{finding}; hpcdl's own clock was too late with {tried_s} s, and whether the profile's "
        f"stop_margin_s: {margin_s} is enough, no short test can show"
    )
