"""Prints a profile as it is used, with the source of each value; the text is itself a profile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
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
    lines = list(_lines(cluster, "", "", cluster.places))
    for setting_field in fields(cluster):
        if setting_field.name in cluster.places or setting_field.metadata.get("internal"):
            continue
        default = plain(_default(setting_field))
        lines.append((f"# {setting_field.name}: {default}", "default"))
    widths = [len(line) for line, _ in lines]
    column = max(width for width in widths if width <= _WIDEST or width == min(widths))
    return "".join(f"{line:<{column}}  # {one_line(where)}\n" for line, where in lines)


def _lines(value: Any, key: str, indent: str, places: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The keys of a section that were written: (YAML, place)."""
    for name, inner in _items(value).items():
        path = f"{key}.{name}" if key else name
        if path not in places:
            continue
        if isinstance(inner, Image) and f"{path}.path" not in places:
            inner = inner.path
        is_section = is_dataclass(inner) or isinstance(inner, dict)
        has_keys = any(other.startswith(f"{path}.") for other in places)
        if is_section and has_keys:
            yield f"{indent}{plain(name)}:", places[path]
            yield from _lines(inner, path, f"{indent}  ", places)
        else:
            shown = {} if is_dataclass(inner) else inner
            yield f"{indent}{plain(name)}: {plain(shown)}", places[path]


def _items(section: Any) -> dict[str, Any]:
    """The keys and values of a section, a dataclass or a dict."""
    if not is_dataclass(section):
        items: dict[str, Any] = section
        return items
    return {inner.name: getattr(section, inner.name) for inner in fields(section)}


def _default(setting_field: Field[Any]) -> Any:
    value = setting_field.default
    if setting_field.default_factory is not MISSING:
        value = setting_field.default_factory()
    return _items(value) if is_dataclass(value) else value
