"""Verdicts on what a node offers: worker, image, data, scratch, files. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hpcdl.cluster.schema import Cluster
from hpcdl.promises.evidence import JobEvidence
from hpcdl.promises.names import NODE
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

# The checks of `hpcdl check` that break a promise before anything is sent
CHECKS = {
    "image": "image",
    "host Python": "worker",
    "size": "gpus",
    "file system": "files",
}
_NOT_THE_SITES = ("cancelled", "node_failure", "preempted")  # causes that show nothing of a node
_OF_MODULES = re.compile(
    r"modulefile|module\(s\)|module: (command )?not found|modulecmd|lmod", re.IGNORECASE
)
# With these the worker ends before it starts the container
_BEFORE_THE_IMAGE = ("device", *_NOT_THE_SITES)
_SLOW_START_S = 60.0
LATE_S = 15.0
_CLOCK_S = -2.0
_SLOW_READ_MB = 50.0
_LITTLE_GB = 5.0


def worker(about: JobEvidence, cluster: Cluster) -> Verdict:
    """Whether the host Python started hpcdl's worker."""
    if about.started:
        node = about.attempts[0].node or "a node"
        return kept(f"on {node}, with {cluster.host_python or 'this Python'}")
    if about.unsent:
        return not_tried(f"the job {NODE} did not run: {about.unsent}", about.fix)
    if about.state == states.CANCELLED or about.uncancelled:
        return not_tried(f"the job {NODE} was cancelled before it started")
    words = telling(about.output) or why_failed(about)
    finding = f"the job ended before hpcdl's worker started: {words}"
    if about.cause in _NOT_THE_SITES:
        return not_tried(finding)
    if _OF_MODULES.search(words):
        key = "host_modules" if cluster.host_modules else "modules"
        return broken(
            finding,
            f"{key} names a module that nodes do not have: correct it (module avail, in a job)",
        )
    return broken(
        finding,
        "host_python must be a Python with hpcdl that the nodes can run: install hpcdl on the "
        "shared file system and name that one; host_modules loads what it needs",
    )


def image(about: JobEvidence, cluster: Cluster) -> Verdict:
    """Whether the container starts, and how long that takes."""
    if unknown := why_unknown(about, NODE):
        return unknown
    began = about.site.get("started")
    if began is None and about.state == states.DONE:
        return not_tried(f"the job is done, but what it saw is not to be seen here: {about.folder}")
    if began is None and (about.cause in _BEFORE_THE_IMAGE or _of_scratch(_text(about), cluster)):
        return not_tried(f"the container was not started: {why_failed(about)}")
    if began is None:
        advice = "images must name files that the nodes can read, and runtime a command that "
        advice += f"modules give there; {about.folder}/logs has its words"
        return broken(f"the container did not start: {_words(about)}", advice)
    seconds = max(0.0, began - (about.attempts[0].started or began))
    if seconds > _SLOW_START_S:
        return kept(
            f"after {seconds:.0f} s, which is slow",
            "a copy of the image on a faster file system starts sooner: name that in images",
        )
    return kept(f"after {seconds:.1f} s, Python {about.site.get('python')}")


def _words(about: JobEvidence) -> str:
    return f"{why_failed(about)}; {telling(about.log)}" if about.log else why_failed(about)


def data(about: JobEvidence, cluster: Cluster) -> Verdict:
    """Whether data_root can be read on the node, and how fast."""
    what = f"data_root {cluster.data_root}"
    facts = _looked_at("data_root", about, cluster, _of_data)
    if isinstance(facts, Verdict):
        return facts
    if "error" in facts:
        return broken(
            f"{what}: {facts['error']}",
            "data_root must be a folder that the nodes see and you may read: name another one, or "
            "stage the data there (hpcdl data stage)",
        )
    speed = facts.get("mb_per_s")
    if speed is None and facts.get("closed"):
        return not_tried(f"{what} has nothing that you may read")
    if speed is None:
        return kept(f"{what} is empty")
    finding = f"{facts['read_mb']:.0f} MB at {speed:,.0f} MB/s"
    if speed < _SLOW_READ_MB:
        return kept(f"{finding}, which is slow", "data on a faster file system: another data_root")
    return kept(finding)


def scratch(about: JobEvidence, cluster: Cluster) -> Verdict:
    """Whether the folder for temporary files can be written."""
    what = cluster.scratch or "the node's own folder for temporary files"
    facts = _looked_at("scratch", about, cluster, _of_scratch)
    if isinstance(facts, Verdict):
        return facts
    if "error" in facts:
        advice = "scratch must be a folder that each node has and you may write, such as $TMPDIR "
        advice += "or /local"
        if cluster.scratch:
            advice += "; without the key the node's default is used"
        return broken(f"{what}: {facts['error']}", advice, scratch=None)
    kind = facts.get("kind") or "of an unknown kind"
    where = f"{facts['free_gb']:,.0f} GB free, {facts['mb_per_s']:,.0f} MB/s ({kind})"
    if facts["free_gb"] < _LITTLE_GB:
        return kept(where, "little room: scratch can name a larger folder of the nodes")
    return kept(where)


def _looked_at(
    folder: str, about: JobEvidence, cluster: Cluster, is_about: Callable[[str, Cluster], bool]
) -> dict[str, Any] | Verdict:
    """What the program saw of a folder; a verdict if it did not come to that.

    Args:
        folder: ``data_root`` or ``scratch``.
        about: what the job showed.
        cluster: the profile.
        is_about: whether an error is about this folder, in what a job printed.
    """
    if unknown := why_unknown(about, NODE):
        return unknown
    facts: dict[str, Any] = about.site.get(folder, {})
    if not facts and is_about(_text(about), cluster):
        return {"error": telling(_text(about))}
    return facts or not_tried(f"the program did not start: {why_failed(about)}")


def _text(about: JobEvidence) -> str:
    return f"{about.message}\n{about.log}\n{about.output}"


def _of_data(text: str, cluster: Cluster) -> bool:
    return f"{cluster.data_root}/" in text and "ermission denied" in text


def _of_scratch(text: str, cluster: Cluster) -> bool:
    return "scratch folder" in text or bool(cluster.scratch and cluster.scratch in text)


def files(about: JobEvidence, cluster: Cluster) -> Verdict:
    """Whether a file of the node's is soon to be seen on the login node, and clocks agree."""
    if unknown := why_unknown(about, NODE):
        return unknown
    if about.lag_s is None:
        return not_tried("no file was watched as it came")
    if about.lag_s < _CLOCK_S:
        return broken(
            f"the node's clock is {-about.lag_s:.0f} s ahead of this machine's",
            "tell the site: hpcdl status and resume compare times of both",
        )
    if about.lag_s > LATE_S:
        return broken(
            f"a file was seen here {about.lag_s:.0f} s after the node wrote it, by its clock",
            "runs_root on another file system may be faster; else the clocks differ, or the site's "
            "file system remembers long: hpcdl status is late by that much",
        )
    return kept(f"after {max(0.0, about.lag_s):.1f} s")
