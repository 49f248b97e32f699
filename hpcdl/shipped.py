"""Finds what hpcdl ships as files: templates, jobs and containers."""

from __future__ import annotations

from pathlib import Path


def folder(name: str) -> Path:
    """The folder of shipped files called name.

    In a wheel they lie inside the package; in a checkout, next to it. (An editable install leaves
    a stale copy elsewhere, which is never used.)
    """
    package = Path(__file__).resolve().parent
    inside = package / "_data" / name
    return inside if inside.is_dir() else package.parent / name
