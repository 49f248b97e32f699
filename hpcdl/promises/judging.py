"""From the evidence of all jobs to a verdict on each promise. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpcdl.cluster.schema import Cluster
from hpcdl.formats import several
from hpcdl.promises import gpu_verdicts, node_verdicts, queue_verdicts, warning_verdict
from hpcdl.promises.evidence import JobEvidence
from hpcdl.promises.names import UNDISTURBED, Promise
from hpcdl.promises.verdict import (
    BROKEN,
    KEPT,
    LEFT_EARLY,
    NOT_NEEDED,
    NOT_TRIED,
    Verdict,
    broken,
    not_tried,
)
from hpcdl.text import cut, one_line

_MOST_LETTERS = 500
_LONG = 80  # letters
# What SLURM does after a job has ended
_AFTER_THE_END = ("cancel", "accounting")
_OF_ONE_JOB = {
    "worker": node_verdicts.worker,
    "image": node_verdicts.image,
    "gpus": gpu_verdicts.gpus,
    "driver": gpu_verdicts.driver,
    "all-reduce": gpu_verdicts.all_reduce,
    "data": node_verdicts.data,
    "scratch": node_verdicts.scratch,
    "files": node_verdicts.files,
    "warned": warning_verdict.warned,
    "requeued": queue_verdicts.requeued,
    "cancel": queue_verdicts.cancelled,
    "memory": queue_verdicts.memory,
    "accounting": queue_verdicts.accounting,
}


def judge(
    promises: Sequence[Promise],
    evidence: Mapping[str, JobEvidence],
    cluster: Cluster,
    was_left: bool = False,
) -> dict[str, Verdict]:
    """A verdict on each promise, by its name.

    Args:
        promises: those that were tried.
        evidence: what the jobs showed, by their names.
        cluster: the profile that they were sent with.
        was_left: whether nobody waited for the end of the test.
    """
    verdicts = {}
    for promise in promises:
        verdict = _verdict(promise, evidence, cluster)
        why = _why_left(promise, evidence, was_left)
        # That a cancelled job stays away is known only when SLURM has had its time
        is_early = promise.name == "cancel" and verdict.outcome == KEPT
        if why and (is_early or verdict.outcome == BROKEN):
            verdict = not_tried(why)
        verdicts[promise.name] = _tidy(verdict, cluster)
    return _said_once(verdicts)


def _said_once(verdicts: dict[str, Verdict]) -> dict[str, Verdict]:
    """The verdicts, where a reason stands once: one fault hides many promises."""
    first: dict[str, str] = {}
    for name, verdict in verdicts.items():
        if verdict.outcome == NOT_TRIED and len(verdict.finding) > _LONG:
            other = first.setdefault(verdict.finding, name)
            if other != name:
                verdicts[name] = not_tried(f"the same as for {other}", verdict.advice)
    return verdicts


def _tidy(verdict: Verdict, cluster: Cluster) -> Verdict:
    """A verdict in one line each, with no change into what the profile says already.

    A finding may quote what a job printed: lines, colours, or pages of it.
    """
    new = {key: value for key, value in verdict.change.items() if getattr(cluster, key) != value}
    finding, advice = (
        cut(one_line(" ".join(text.split())), _MOST_LETTERS)
        for text in (verdict.finding, verdict.advice)
    )
    return Verdict(verdict.outcome, finding, advice, new)


def _why_left(promise: Promise, evidence: Mapping[str, JobEvidence], was_left: bool) -> str:
    """Why a promise was not watched to its end; "" if it was."""
    for job in promise.jobs:
        if job in evidence and evidence[job].left:
            return evidence[job].left
    return LEFT_EARLY if was_left and promise.name in _AFTER_THE_END else ""


def _verdict(promise: Promise, evidence: Mapping[str, JobEvidence], cluster: Cluster) -> Verdict:
    about = evidence.get(promise.jobs[0])
    if about is None:
        return not_tried(f"the job {promise.jobs[0]} was not sent")
    if node_verdicts.CHECKS.get(about.check) == promise.name and _is_about(promise, about):
        return broken(about.unsent, about.fix)
    if promise.name == "resumed":
        return queue_verdicts.resumed(about, evidence.get(UNDISTURBED))
    return _OF_ONE_JOB[promise.name](about, cluster)


def _is_about(promise: Promise, about: JobEvidence) -> bool:
    """Whether a check's finding is about a promise: a size is one of CPUs or memory, too."""
    return promise.name != "gpus" or "GPU" in about.unsent


def changes(verdicts: Mapping[str, Verdict]) -> dict[str, object]:
    """The keys of the profile that would help, with their values."""
    keys: dict[str, object] = {}
    for verdict in verdicts.values():
        for key, value in verdict.change.items():
            keys.setdefault(key, value)
    return keys


def exit_code(verdicts: Mapping[str, Verdict]) -> int:
    """0 if every promise is kept or does not apply, 2 if one is broken, else 1."""
    outcomes = {verdict.outcome for verdict in verdicts.values()}
    if BROKEN in outcomes:
        return 2
    return 1 if NOT_TRIED in outcomes else 0


def summary(verdicts: Mapping[str, Verdict]) -> str:
    """How many promises are kept, in a sentence."""
    counts = {
        outcome: sum(verdict.outcome == outcome for verdict in verdicts.values())
        for outcome in (KEPT, BROKEN, NOT_TRIED, NOT_NEEDED)
    }
    parts = [f"{counts[KEPT]} kept"]
    parts += [f"{counts[name]} {name}" for name in (BROKEN, NOT_TRIED) if counts[name]]
    if counts[NOT_NEEDED]:
        number = counts[NOT_NEEDED]
        parts.append(f"{number} {'does' if number == 1 else 'do'} not apply")
    return f"{several(len(verdicts), 'promise')}: {', '.join(parts)}"
