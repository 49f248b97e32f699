"""Every key of a section in words, from the classes that read it: for `hpcdl jobs keys` and docs.

The sections are found by the annotations of the classes' fields, from `Job` down.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any, get_origin, get_type_hints

from hpcdl.contract.spec import FunctionSpec
from hpcdl.job.sections import Job
from hpcdl.yamlfile.leaf import options_of
from hpcdl.yamlfile.walker import expected

# A row of a table of keys: (key, what it takes, default, meaning)
Row = tuple[str, str, str, str]


@dataclass(frozen=True)
class Section:
    """A section that has a table of its keys, with its title and what its keys begin with."""

    title: str
    prefix: str
    cls: type


def job_reference() -> str:
    """All sections of a job file, as Markdown: what each is, and a table of its keys."""
    sections = [Section("The job", "", Job), *_sections_in(Job, "")]
    with_tables = {section.cls for section in sections}
    parts = []
    for section in sections:
        table = markdown(keys(section.cls, section.prefix, with_tables))
        parts.append(f"## {section.title}\n\n{_about(section.cls)}\n\n{table}\n")
    return "\n".join(parts)


def keys(cls: type, prefix: str, with_tables: Set[type] = frozenset()) -> list[Row]:
    """The keys of one class, with those of the sections in it.

    Args:
        cls: the class.
        prefix: what its keys begin with, such as ``train.``.
        with_tables: sections that have a table of their own elsewhere.
    """
    rows: list[Row] = []
    for setting_field, hint in _settings(cls):
        key = f"{prefix}{setting_field.name}"
        inner = _classes_in(hint)
        if len(inner) == 1 and inner[0] not in with_tables:
            each = "NAME." if get_origin(hint) is dict else ""
            rows += keys(inner[0], f"{key}.{each}", with_tables)
            continue
        takes = "a section, below" if inner else expected(hint, setting_field.metadata)
        meaning = setting_field.metadata.get("doc", "")
        rows.append((key, takes, _default(setting_field), meaning))
    return rows


def markdown(rows: list[Row]) -> str:
    """Rows as a Markdown table."""
    lines = ["| key | takes | default | meaning |", "|---|---|---|---|"]
    for key, takes, default, meaning in rows:
        shown_meaning = meaning.replace("<", "&lt;").replace("|", "\\|")
        lines.append(f"| `{key}` | {takes} | {default} | {shown_meaning} |")
    return "\n".join(lines)


def _sections_in(cls: type, prefix: str) -> Iterator[Section]:
    """The sections in a class that have tables, each before those in it."""
    for setting_field, hint in _settings(cls):
        key = f"{prefix}{setting_field.name}"
        classes = _classes_in(hint)
        if setting_field.metadata.get("inline"):
            continue
        for inner in classes:
            kind = f": {_kind(inner)}" if len(classes) > 1 else ""
            yield Section(f"`{key}`{kind}", f"{key}.", inner)
            yield from _sections_in(inner, f"{key}.")


def _settings(cls: type) -> list[tuple[Field[Any], Any]]:
    """The fields that a user may set, each with its annotation."""
    hints = get_type_hints(cls)
    settings = []
    for setting_field in fields(cls):
        if not setting_field.metadata.get("internal"):
            settings.append((setting_field, hints[setting_field.name]))
    return settings


def _classes_in(hint: Any) -> list[type]:
    """The sections in an annotation: its own, or those of its dict's values."""
    options = getattr(hint, "__args__", ()) or options_of(hint)
    return [option for option in options if isinstance(option, type) and is_dataclass(option)]


def _kind(cls: type) -> str:
    """What one of several sections is called: by its first field, which tells them apart."""
    if cls is FunctionSpec:
        return "your own function"
    first = fields(cls)[0]
    names: tuple[str, ...] = first.metadata.get("choices", (first.name,))
    return names[0]


def _about(cls: type) -> str:
    """The first paragraph of a class's docstring, on one line."""
    paragraph = (cls.__doc__ or "").strip().partition("\n\n")[0]
    return " ".join(paragraph.split()).replace("``", "`")


def _default(setting_field: Field[Any]) -> str:
    value = setting_field.default
    if setting_field.default_factory is not MISSING:
        value = setting_field.default_factory()
    if value is MISSING:
        return "(needed)"
    if value in (None, "") or is_dataclass(value):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"
