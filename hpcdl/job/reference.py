"""Every key of a section in words, taken from the classes that read it: for `hpcdl jobs keys` and the docs."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from hpcdl.contract.spec import (
    BackboneSpec,
    CnnSpec,
    DataSpec,
    EarlyStoppingSpec,
    FunctionSpec,
    MlpSpec,
    OptimizerSpec,
    ResnetSpec,
    ScheduleSpec,
    TrainSpec,
)
from hpcdl.job.sections import Job
from hpcdl.yamlfile.walker import expected

_SECTIONS = [
    ("The job", "", Job),
    ("`data`", "data.", DataSpec),
    ("`model`: mlp", "model.", MlpSpec),
    ("`model`: cnn", "model.", CnnSpec),
    ("`model`: resnet", "model.", ResnetSpec),
    ("`model`: backbone", "model.", BackboneSpec),
    ("`model`: your own function", "model.", FunctionSpec),
    ("`train`", "train.", TrainSpec),
    ("`train.optimizer`", "train.optimizer.", OptimizerSpec),
    ("`train.schedule`", "train.schedule.", ScheduleSpec),
    ("`train.early_stopping`", "train.early_stopping.", EarlyStoppingSpec),
]
_APART = {cls for _, _, cls in _SECTIONS}


def job_reference() -> str:
    """All sections of a job file, as Markdown: what each is, and a table of its keys."""
    parts = []
    for title, prefix, cls in _SECTIONS:
        about = (cls.__doc__ or "").partition("\n")[0].replace("``", "`")
        parts.append(f"## {title}\n\n{about}\n\n{markdown(keys(cls, prefix))}\n")
    return "\n".join(parts)


def keys(cls: type, prefix: str) -> list[tuple[str, str, str, str]]:
    """The keys of one class: (key, what it takes, default, meaning). Nested sections are walked into."""
    rows = []
    hints = get_type_hints(cls)
    for f in fields(cls):
        if f.metadata.get("internal"):
            continue
        inner = [
            option
            for option in (get_args(hints[f.name]) or (hints[f.name],))
            if is_dataclass(option)
        ]
        if len(inner) == 1 and isinstance(inner[0], type) and inner[0] not in _APART:
            each = "NAME." if get_origin(hints[f.name]) is dict else ""
            rows += keys(inner[0], f"{prefix}{f.name}.{each}")
        else:
            takes = "a section, below" if inner else expected(hints[f.name], f.metadata)
            rows.append((f"{prefix}{f.name}", takes, _default(f), f.metadata.get("doc", "")))
    return rows


def markdown(rows: list[tuple[str, str, str, str]]) -> str:
    """Rows as a Markdown table."""
    lines = ["| key | takes | default | meaning |", "|---|---|---|---|"]
    for key, takes, default, meaning in rows:
        lines.append(f"| `{key}` | {takes} | {default} | {meaning.replace('<', '&lt;')} |")
    return "\n".join(lines)


def _default(f: Field[Any]) -> str:
    if f.default_factory is not MISSING:
        value = f.default_factory()
    elif f.default is not MISSING:
        value = f.default
    else:
        return "(needed)"
    if value in (None, "") or is_dataclass(value):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
