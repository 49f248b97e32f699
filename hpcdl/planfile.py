"""plan.json: how a plan is written, and how this form and the older one are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, get_type_hints

from hpcdl.errors import UserError
from hpcdl.planning import Command, Plan, Predict, Script, Training, reads_outside

VERSION = 2  # the first form had no version, and all keys on one level
_PROGRAMS = {each.kind: each for each in (Training, Script, Command, Predict)}


def to_json(plan: Plan) -> dict[str, Any]:
    """The content of plan.json."""
    groups = asdict(plan)
    groups["program"]["kind"] = plan.program.kind
    return {"version": VERSION, **groups}


def from_json(content: Any, spec: Mapping[str, Any]) -> Plan:
    """The plan that a plan.json holds.

    Args:
        content: the file's.
        spec: the content of run.json, or nothing. The first form did not say which folders a
            training reads.

    Raises:
        UserError: a newer hpcdl wrote it, or it is damaged.
    """
    if not isinstance(content, Mapping):
        raise damaged("it holds no keys")
    version = content.get("version", 1)
    if version not in (1, VERSION):
        raise UserError(
            f"plan.json has version {version}; expected {VERSION} or less: "
            "use the hpcdl that submitted this run, or a newer one"
        )
    from msgspec import ValidationError  # here: who only writes a plan does without

    try:
        return _read(_in_groups(content, spec) if version == 1 else content)
    except (KeyError, TypeError, ValidationError) as error:
        raise damaged(error) from error


def damaged(why: object) -> UserError:
    """The error of a plan.json that cannot be used."""
    return UserError(f"plan.json is damaged ({why}): submit the job again")


def _read(groups: Mapping[str, Any]) -> Plan:
    import msgspec

    types: dict[str, Any] = get_type_hints(Plan)
    types["program"] = _PROGRAMS[groups["program"]["kind"]]
    values: dict[str, Any] = {}
    for field in fields(Plan):
        if field.name == "notify" and field.name not in groups:
            continue  # hpcdl 0.2 wrote none
        values[field.name] = msgspec.convert(groups[field.name], types[field.name])
    return Plan(**values)


def _in_groups(flat: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """The first form of plan.json as groups: each finds its own keys in the whole."""
    program: dict[str, Any] = {**flat, "kind": "script"}
    if flat["script"] is None:
        data, model = spec.get("data", {}), spec.get("model", {})
        reads = reads_outside(data.get("path"), model.get("weights"), flat["data_root"])
        program = {"kind": "training", "reads": reads}
    container = None if flat["image"] is None else flat
    groups = dict.fromkeys(("size", "environment", "modules", "policy"), flat)
    return {"folder": "", **flat, **groups, "program": program, "container": container}
