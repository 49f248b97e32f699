"""Prints a profile as it is used, behind each value where it comes from; the text is itself a profile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from hpcdl.cluster.schema import Cluster, Image
from hpcdl.text import one_line
from hpcdl.yamlfile.writer import plain

_WIDEST = 60  # a comment behind a longer value is not aligned


def text(cluster: Cluster) -> str:
    """The profile's text.

    Args:
        cluster: from `read_cluster`: paths as they are written.
    """
    given = list(_rows(cluster, "", "", cluster.places))
    others = [
        (f"# {f.name}: {plain(_default(f))}", "default")
        for f in fields(cluster)
        if f.name not in cluster.places and not f.metadata.get("internal")
    ]
    widths = [len(row) for row, _ in given + others]
    column = max(width for width in widths if width <= _WIDEST or width == min(widths))
    return "".join(f"{row:<{column}}  # {one_line(where)}\n" for row, where in given + others)


def _rows(value: Any, key: str, indent: str, places: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The keys of a section that were given: (YAML, place)."""
    pairs = (
        [(f.name, getattr(value, f.name)) for f in fields(value)]
        if is_dataclass(value)
        else value.items()
    )
    for name, inner in pairs:
        path = f"{key}.{name}" if key else name
        if path not in places:
            continue
        if isinstance(inner, Image) and f"{path}.path" not in places:
            inner = inner.path
        if (is_dataclass(inner) or isinstance(inner, dict)) and any(
            other.startswith(f"{path}.") for other in places
        ):
            yield f"{indent}{plain(name)}:", places[path]
            yield from _rows(inner, path, f"{indent}  ", places)
        else:
            yield (
                f"{indent}{plain(name)}: {plain({} if is_dataclass(inner) else inner)}",
                places[path],
            )


def _default(f: Any) -> Any:
    value = f.default if f.default_factory is MISSING else f.default_factory()
    return (
        {inner.name: getattr(value, inner.name) for inner in fields(value)}
        if is_dataclass(value)
        else value
    )
