"""The two verdicts about new images in plain words: changed, and likely worse."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hpcdl.formats import percent, several
from hpcdl.report.drift import LESS_SURE, TRIFLE

if TYPE_CHECKING:
    from hpcdl.report.drift import Drift

FEW = 20  # images below which hardly any change shows
_LABEL_SOME = "a model can be sure and wrong, so label some images"
_CLEAR_ERRORS = 2.0  # standard errors within which the fall in confidence is thought to lie


def changed(verdict: Drift) -> str:
    """The first verdict."""
    if verdict.changed:
        return f"yes: {', '.join(verdict.what)} (p {verdict.p:.2g})"
    return f"no: the {_alike(verdict)}{_doubt(verdict)}"


def worse(verdict: Drift) -> str:
    """The second verdict."""
    means = _means(verdict)
    if verdict.likely_worse is None:
        return f"nobody can tell: {_why_not(verdict)}; {means}"
    if verdict.likely_worse:
        return f"likely: {means}"
    if not _is_clear(verdict):
        return f"not clear: {_too_few(verdict)}; {means}"
    if verdict.changed:
        return f"not likely, as far as its confidence tells: {_LABEL_SOME}; {means}"
    return f"not likely: {means}"


def sentence(verdict: Drift) -> str:
    """Both in one line."""
    means = _means(verdict)
    if not verdict.changed:
        return f"no change found: the {_alike(verdict)} ({means}){_doubt(verdict)}"
    names = ", ".join(verdict.what)
    if verdict.likely_worse is None:
        why = _why_not(verdict)
        return f"changed: {names}; nobody can tell whether the model is worse: {why} ({means})"
    if verdict.likely_worse:
        return f"changed: {names}; the model is likely worse ({means})"
    if not _is_clear(verdict):
        few = _too_few(verdict)
        return f"changed: {names}; whether the model is worse is not clear: {few} ({means})"
    same = "the model is about as sure as in the test"
    return f"changed: {names}; {same} ({means}); {_LABEL_SOME}"


def why_it_fails(verdict: Drift) -> str:
    """The reason of ``--fail-on-drift``."""
    if verdict.likely_worse is None:
        return f"nobody can tell whether the model is worse: {_why_not(verdict)}"
    return "the model is likely worse on these images"


def _means(verdict: Drift) -> str:
    new, test = verdict.confidence["new"], verdict.confidence["test"]
    return f"mean confidence {new:.3f}, in the test {test:.3f}"


def _alike(verdict: Drift) -> str:
    """What is like the test's: a run of before hpcdl 0.4 did not note what its images look like."""
    if verdict.outside is None:
        return "answers are like those to the test; the images themselves could not be compared"
    return "images look like those of the test"


def _doubt(verdict: Drift) -> str:
    """What to add to the word that nothing has changed: there may be too few images for it."""
    count = verdict.rows["new"]
    if count >= FEW:
        return ""
    return f"; {several(count, 'image')} can only show a large change"


def _why_not(verdict: Drift) -> str:
    """Why the confidence tells nothing."""
    share = percent(verdict.outside, 0)
    return f"{share} of the images look unlike any in the test, and a model can be sure and wrong"


def _too_few(verdict: Drift) -> str:
    return f"{several(verdict.rows['new'], 'image')} are too few to tell"


def _is_clear(verdict: Drift) -> bool:
    """Whether nothing has changed, or the confidence has certainly not fallen by `LESS_SURE`."""
    if not verdict.changed:
        return True
    spread = verdict.confidence.get("spread", 0.0)
    fall = verdict.confidence["test"] - verdict.confidence["new"]
    error = spread * math.sqrt(1 / verdict.rows["new"] + 1 / verdict.rows["test"])
    return fall + _CLEAR_ERRORS * error <= max(LESS_SURE * spread, TRIFLE)
