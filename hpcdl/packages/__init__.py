"""The packages that a job has besides its image's: in which overlay they are, and where it lies."""

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
from hpcdl.text import hpcdl_command

MANIFEST = "manifest.json"
SQUASHFS, FOLDER = "packages.sqfs", "packages"
_LAYOUT = 1  # changes when an overlay that was built before can no longer be used


def located(plan: Plan, cluster: Cluster) -> Plan:
    """The plan with its overlay's path: the one that is built, else where it would be.

    An overlay is named by the image's hash and the requirements. It is never modified, so queued
    jobs keep theirs. If the image cannot be read here, the plan stays as it is.
    """
    container = plan.container
    if container is None or not container.requirements or not os.access(container.image, os.R_OK):
        return plan
    folders = [base / key(plan) for base in _bases(plan, cluster)]
    folder = _chosen(folders)
    payload = (read_json(folder / MANIFEST) or {}).get("file", SQUASHFS)
    return replace(plan, container=replace(container, overlay=str(folder / payload)))


def _chosen(folders: list[Path]) -> Path:
    """Of an overlay's folders the first that is built, else the first that this user can make."""
    for folder in folders:
        if (folder / MANIFEST).exists():
            return folder
    for folder in folders:
        if _writable(folder.parent):
            return folder
    return folders[0]


def key(plan: Plan) -> str:
    """The name of a plan's overlay: 12 hex digits.

    They stand for the image's bytes, its Python command and the requirements.

    Raises:
        OSError: the image cannot be read.
    """
    container = plan.require_container()
    sha256 = cached_sha256(Path(container.image))
    made_of = json.dumps([_LAYOUT, sha256, container.python, container.requirements])
    return hashlib.sha256(made_of.encode()).hexdigest()[:12]


def manifest(plan: Plan) -> dict[str, Any] | None:
    """What was written when a plan's overlay was built; None if it is not built."""
    overlay = plan.container.overlay if plan.container else None
    if overlay is None or not os.path.exists(overlay):
        return None
    return read_json(Path(overlay).with_name(MANIFEST))


def require(plan: Plan) -> None:
    """Make sure that the packages that a plan needs besides its image are installed.

    Raises:
        UserError: they are not.
    """
    container = plan.container
    if container is None:
        return
    if container.requirements and container.overlay is None:
        raise UserError(
            f"{plan.source} has packages, whose folder is named by the hash of its image, "
            f"but the image {container.image} cannot be read here: do this where it is"
        )
    if container.overlay is not None and manifest(plan) is None:
        raise UserError(
            f"the packages of {plan.source} are not installed: "
            f"{hpcdl_command('env', 'build', plan.source)}"
        )


def others(plan: Plan, cluster: Cluster) -> Iterator[dict[str, Any]]:
    """The manifests of the overlays that lie where a plan's own would, the newest first."""
    manifests = []
    for base in _bases(plan, cluster):
        for path in base.glob(f"[!.]*/{MANIFEST}"):
            content = read_json(path)
            if content is not None:
                manifests.append(content)
    yield from sorted(manifests, key=lambda content: -float(content.get("built", 0)))


def _bases(plan: Plan, cluster: Cluster) -> list[Path]:
    """Where overlays lie: next to the image, for all its users, or with the user's runs."""
    next_to_image = Path(f"{os.path.abspath(plan.require_container().image)}.packages")
    with_runs = Path(cluster.runs_root, ".packages")
    if set(str(next_to_image)) & set(":,"):  # --bind splits there
        return [with_runs]
    if set(str(with_runs)) & set(":,"):
        return [next_to_image]
    return [next_to_image, with_runs]


def _writable(base: Path) -> bool:
    """Whether this user can make a folder, or write in it if it exists."""
    nearest = next(folder for folder in (base, *base.parents) if folder.exists())
    return os.access(nearest, os.W_OK | os.X_OK)
