"""The profile that a run or sweep was sent with, as it reads now, for what is sent again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcdl.cluster import Cluster, fitting_cluster, load_cluster, named_cluster
from hpcdl.errors import UserError
from hpcdl.run import records
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import Manifest
from hpcdl.sweeps.trial_spec import as_sets
from hpcdl.yamlfile.reader import read_yaml


@dataclass(frozen=True)
class SentWith:
    """The profile of a run or sweep that is on disk.

    Args:
        cluster: the profile; None if it does not count, or nobody knows it.
        note: for the user: why its limits cannot be looked at.
    """

    cluster: Cluster | None = None
    note: str = ""


def sent_with(paths: RunPaths, named: str | None, sets: Sequence[str] = ()) -> SentWith:
    """The profile that a run or sweep was sent with.

    Args:
        paths: the run's.
        named: the profile that ``--cluster`` names: it counts if it has the name of the run's.
        sets: ``cluster.KEY=value`` texts that override it.

    Raises:
        UserError: the named profile or a text is wrong.
    """
    for text in sets:
        if not text.startswith("cluster."):
            raise UserError(f"--set {text}: the job stays as it is; expected cluster.KEY=VALUE")
    if not paths.script.exists():
        return SentWith()
    all_sets = [*_sets_of_job(paths), *sets]
    own_name = records.plan(paths).get("cluster")
    if named is not None:
        cluster = load_cluster(named, all_sets)
        if cluster.name == own_name:
            return SentWith(cluster)
    return _as_noted(paths, str(own_name), all_sets, sets)


def _as_noted(
    paths: RunPaths, own_name: str, all_sets: Sequence[str], sets: Sequence[str]
) -> SentWith:
    """The profile that the run's manifest names; an older hpcdl did not note it."""
    name = Manifest.read(paths).profile or named_cluster(None) or fitting_cluster()
    if name is None:
        return _unknown(own_name, sets)
    try:
        cluster = load_cluster(name, all_sets)
    except UserError as error:
        if sets:
            raise
        return SentWith(note=f"its budget and the site's own limits are not looked at: {error}")
    if cluster.name != own_name:
        return _unknown(own_name, sets)
    return SentWith(cluster)


def _unknown(name: str, sets: Sequence[str]) -> SentWith:
    if sets:
        message = f"--set {sets[0]}: nobody knows which file is the profile {name}"
        raise UserError(f"{message}; say --cluster FILE")
    return SentWith()


def _sets_of_job(paths: RunPaths) -> list[str]:
    """The job's section ``cluster``, which overrides the profile."""
    text = paths.job.read_text(encoding="utf-8", errors="replace") if paths.job.exists() else ""
    document = read_yaml(text, "job.yaml", [])
    if document is None:
        return []
    section = {}
    for key, item in document.items_of("cluster").items():
        section[f"cluster.{key}"] = item.plain()
    return as_sets(section)
