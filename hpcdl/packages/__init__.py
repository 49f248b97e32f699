"""What a job has beside its image's packages: which overlay of installed requirements is its own, and where it lies."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcdl.cache import cached_sha256
from hpcdl.cluster.schema import Cluster
from hpcdl.errors import UserError
from hpcdl.files import read_json
from hpcdl.planning import Plan

MANIFEST = "manifest.json"
SQUASHFS, FOLDER = "packages.sqfs", "packages"
_LAYOUT = 1  # changes when an overlay that was built before can no longer be used


def located(plan: Plan, cluster: Cluster) -> Plan:
    """The plan with its overlay's path: the one that is built, else where it would be.

    An overlay belongs to an image's bytes and to the requirements: another image or another line is another one,
    and one that a queued job waits for is never changed. Where the image is not here, the plan stays as it is.
    """
    container = plan.container
    if container is None or not container.requirements or not os.access(container.image, os.R_OK):
        return plan
    folders = [base / key(plan) for base in _bases(plan, cluster)]
    there = [folder for folder in folders if (folder / MANIFEST).exists()]
    folder = (there or [folder for folder in folders if _writable(folder.parent)] or folders)[0]
    payload = (read_json(folder / MANIFEST) or {}).get("file", SQUASHFS)
    return replace(plan, container=replace(container, overlay=str(folder / payload)))


def key(plan: Plan) -> str:
    """The name of a plan's overlay: 12 hex digits for the image's bytes, its Python command and the requirements.

    Raises:
        OSError: the image cannot be read.
    """
    container = plan.require_container()
    sha256 = cached_sha256(Path(container.image))
    made_of = json.dumps([_LAYOUT, sha256, container.python, container.requirements])
    return hashlib.sha256(made_of.encode()).hexdigest()[:12]


def manifest(plan: Plan) -> dict[str, Any] | None:
    """What was written when a plan's overlay was built, its requirements and versions; None where it is not built."""
    overlay = plan.container.overlay if plan.container else None
    if overlay is None or not os.path.exists(overlay):
        return None
    return read_json(Path(overlay).with_name(MANIFEST))


def require(plan: Plan) -> None:
    """See that what a plan needs beside its image is built.

    Raises:
        UserError: it is not.
    """
    container = plan.container
    if container is None:
        return
    if container.requirements and container.overlay is None:
        raise UserError(
            f"{plan.source} has packages, whose place is named by the hash of its image, and the image "
            f"{container.image} cannot be read here: do this where it is"
        )
    if container.overlay is not None and manifest(plan) is None:
        raise UserError(
            f"the packages of {plan.source} are not installed: hpcdl env build {plan.source}"
        )


def others(plan: Plan, cluster: Cluster) -> Iterator[dict[str, Any]]:
    """The manifests of the overlays that lie where a plan's own would, the newest first."""
    folders = [path for base in _bases(plan, cluster) for path in base.glob(f"[!.]*/{MANIFEST}")]
    found = [row for path in folders if (row := read_json(path)) is not None]
    yield from sorted(found, key=lambda row: -float(row.get("built", 0)))


def _bases(plan: Plan, cluster: Cluster) -> list[Path]:
    """Where overlays lie: beside the image, where all its users find them, or with the user's runs."""
    bases = [
        Path(f"{os.path.abspath(plan.require_container().image)}.packages"),
        Path(cluster.runs_root, ".packages"),
    ]
    return [base for base in bases if not set(str(base)) & set(":,")] or bases[1:]


def _writable(base: Path) -> bool:
    return os.access(next(one for one in (base, *base.parents) if one.exists()), os.W_OK | os.X_OK)
