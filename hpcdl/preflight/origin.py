"""Where a key was written: the line of the job file or profile, or the --set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hpcdl.cluster import built_in_profiles
from hpcdl.job import apply_sets, find_job
from hpcdl.job.reader import Located, read_yaml
from hpcdl.preflight import Finding


class Origin:
    """Tells the places of one command line's keys.

    Args:
        job: the job, as it was typed.
        cluster: the profile, likewise.
        sets: all --set texts.
    """

    def __init__(self, job: str, cluster: str, sets: Sequence[str]) -> None:
        path = find_job(job)
        self._names = {"job": job if os.path.exists(job) else "/".join(path.parts[-2:])}
        profile = built_in_profiles().get(cluster)
        self._names["profile"] = f"profile {cluster}" if profile else cluster
        for_cluster = [text for text in sets if text.startswith("cluster.")]
        for_job = [text for text in sets if not text.startswith("cluster.")]
        self._documents = {
            "job": self._read(path, self._names["job"], for_job, ""),
            "profile": self._read(profile or Path(cluster), self._names["profile"], for_cluster, "cluster."),
        }

    def of(self, finding: Finding) -> str:
        """Where a finding comes from: ``jobs/a.yaml:4``, ``--set qos=x``, or ``cluster``."""
        item = self._documents.get(finding.source)
        for part in finding.key.split(".") if item is not None else []:
            inner = item.value.get(part) if item is not None and isinstance(item.value, dict) else None
            if inner is None:
                return f"{self._names[finding.source]}, {finding.key}"
            item = inner
        return item.where if item is not None else finding.source

    @staticmethod
    def _read(path: Path, shown: str, sets: list[str], prefix: str) -> Located | None:
        document = read_yaml(path.read_text(encoding="utf-8"), shown, [])
        if document is not None:
            apply_sets(document, sets, [], prefix)
        return document
