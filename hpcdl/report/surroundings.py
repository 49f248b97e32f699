"""Where a run ran, and with which devices, software and data, as rows for a table."""

from __future__ import annotations

from typing import Any

from hpcdl import formats
from hpcdl.report import hidden, times
from hpcdl.report.facts import Facts


def rows(facts: Facts) -> list[tuple[str, str]]:
    """The rows as (name, text); facts that are not known have no row."""
    rows = [
        *times.moments(facts),
        *_machine(facts),
        *_software(facts),
        *_data(facts),
        ("seed", str(facts.result.get("seed", ""))),
        ("command", _command(facts)),
        ("git commit", str(facts.manifest.git_commit or "")),
        ("run folder", str(facts.run.paths.root)),
    ]
    return [row for row in rows if row[1]]


def _machine(facts: Facts) -> list[tuple[str, str]]:
    devices = facts.section("devices")
    shown = []
    if devices:
        replicas = formats.several(devices["replicas"], "replica")
        emulated = ", EMULATED on the CPU" if facts.emulated else ""
        names = ", ".join(map(str, devices["names"]))
        shown.append(("devices", f"{names} ({devices['strategy']}, {replicas}{emulated})"))
    where = facts.section("cluster").get("name") or facts.plan.get("cluster")
    nodes: dict[str, None] = {}
    for end in facts.ends:
        for node in end.get("nodes") or [end.get("node")]:
            if node:
                nodes[str(node)] = None
    if nodes:
        where = f"{where}, on {', '.join(nodes)}"
    shown.append(("cluster", str(where)))
    if facts.gpu_hours is not None and facts.plan.get("gpus"):
        hours = "none, the GPUs were emulated" if facts.emulated else f"{facts.gpu_hours:.3f}"
        shown.append(("GPU hours", hours))
    return shown


def _software(facts: Facts) -> list[tuple[str, str]]:
    image = facts.manifest.image or {}
    container = _hashed(image) if image else "none: this machine's own Python"
    versions = facts.section("versions")
    texts = [f"{name} {version}" for name, version in versions.items()]
    return [("container", container), ("versions", ", ".join(texts))]


def _data(facts: Facts) -> list[tuple[str, str]]:
    data, shown = facts.section("data"), []
    if data:
        shape = "×".join(map(str, data["image_shape"]))
        counts = []
        for part in ("train", "validation", "test"):
            counts.append(f"{formats.count(data[f'rows_{part}'])} {part}")
        classes = formats.several(data["classes"], "class", "classes")
        path = data.get("path", "path not known")
        shown.append(("data", f"{path}: images of {shape}; {', '.join(counts)}; {classes}"))
    if facts.manifest.data:
        shown.append(("data file", _hashed(facts.manifest.data)))
    return shown


def _command(facts: Facts) -> str:
    command_line = list(map(str, facts.manifest.command_line))
    if not facts.shows_env:
        command_line = hidden.words(command_line)
    return " ".join(command_line)


def _hashed(entry: dict[str, Any]) -> str:
    sha, listing = entry.get("sha256"), entry.get("listing_sha256")
    if listing:
        files = f"{formats.count(entry.get('files', 0))} files, {formats.size(entry.get('bytes'))}"
        return f"{entry.get('path')} ({files}, sha256 of their names and sizes {listing[:16]}…)"
    if not sha:
        return f"{entry.get('path')}"
    return f"{entry.get('path')} ({formats.size(entry.get('bytes'))}, sha256 {sha[:16]}…)"
