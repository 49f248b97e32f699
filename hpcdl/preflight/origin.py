"""Finds where a finding's key was written: in which line of which file, or in which --set."""

from __future__ import annotations

from hpcdl.cluster.schema import Cluster
from hpcdl.job import Job
from hpcdl.preflight import Finding


def origin(finding: Finding, job: Job, cluster: Cluster) -> str:
    """Where a finding comes from: ``jobs/a.yaml:4``, ``--set qos=x``, or ``cluster``."""
    places = {"job": job.places, "profile": cluster.places}.get(finding.source)
    if not places:
        return finding.source
    return places.get(finding.key) or f"{places[''].rpartition(':')[0]}, {finding.key}"
