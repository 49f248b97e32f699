"""Settings and sections as dataclasses: how they are declared, walked, read and written.

A section is a dataclass whose fields are made with `setting`. A field that holds a section has
that section's class as its annotation, and everything here finds sections by these annotations.
So one more section costs one class and one field.

Annotations of sections are real objects (no deferred evaluation, no ``list[int]``), so that they
resolve on Python 3.8.
"""

from __future__ import annotations

import copy
from dataclasses import MISSING, Field, asdict, field, fields, is_dataclass
from typing import (
    Any,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Type,
    TypeVar,
    Union,
)

T = TypeVar("T")


class SpecProblem(NamedTuple):
    """One thing that is wrong in a run's settings.

    Args:
        key: the setting, dotted: ``train.jit``.
        value: what it is; None if it is missing.
        expected: what was expected, in words.
        reads: other settings that the rule looked at. Where one of them is not known, the rule
            says nothing.
        hint: what may have been meant, to be added to the message; or empty.
    """

    key: str
    value: Any
    expected: str
    reads: Tuple[str, ...] = ()
    hint: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return "{} is missing; expected {}{}".format(self.key, self.expected, self.hint)
        return "{} is {!r}; expected {}{}".format(self.key, self.value, self.expected, self.hint)


class SpecError(ValueError):
    """run.json does not describe a run that this trainer can do."""


def setting(
    doc: str,
    default: Any = MISSING,
    since: Optional[str] = None,
    older: Any = MISSING,
    **bounds: Any,
) -> Any:
    """A dataclass field with its meaning and its bounds.

    Args:
        doc: one line for people: what it is, and its unit.
        default: its default; a list or dict is copied for each instance, and a section's class
            makes a section with its own defaults. Without it, the setting is required.
        since: the version of hpcdl that knew this setting first. Runs of older versions do not
            have it in their files; for them it is as `older` says.
        older: what stands for a run that is older than the setting; by default the default.
        **bounds: any of ge, gt, le, lt (numbers), choices (a tuple of strings),
            min_length. They hold for each number or string in the value. Of a section, ``word``
            is the key that a single word stands for (``optimizer: adam``), and ``choose`` a
            function from plain data to the class, where the annotation is a union of sections.
            Of a list of texts, ``single`` lets one word stand for a list of it.
    """
    metadata = dict(bounds, doc=doc)
    if since is not None:
        metadata["since"] = since
    if older is not MISSING:
        metadata["older"] = older
    if default is MISSING:
        return field(metadata=metadata)
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def section_classes(annotation: Any) -> List[Type[Any]]:
    """The sections that an annotation admits: none, one, or several of a union."""
    options: Sequence[Any] = (annotation,)
    if getattr(annotation, "__origin__", None) is Union:
        options = annotation.__args__
    return [option for option in options if isinstance(option, type) and is_dataclass(option)]


def sections_of(section: Any, where: str = "") -> Iterator[Tuple[str, Any]]:
    """A section and all sections in it, each with its dotted key."""
    yield where, section
    for setting_field in fields(section):
        inner = getattr(section, setting_field.name)
        if section_classes(setting_field.type) and is_dataclass(inner):
            yield from sections_of(inner, join(where, setting_field.name))


def plain_sections(cls: Type[Any], raw: Dict[str, Any]) -> Iterator[Tuple[Type[Any], Any]]:
    """The sections directly in a section that is plain data, each with its class.

    Args:
        cls: the class of the section.
        raw: its keys and values; what is not a section of a known kind is left out.
    """
    for setting_field in fields(cls):
        value = raw.get(setting_field.name)
        inner_class = _class_of(setting_field, value)
        if inner_class is not None:
            yield inner_class, value


def add_later_settings(cls: Type[Any], raw: Dict[str, Any]) -> None:
    """Add to a section as plain data what hpcdl did not know yet when it was written.

    Args:
        cls: the class of the section.
        raw: its keys and values, changed in place, with the sections in it.
    """
    for setting_field in _later_fields(cls):
        raw.setdefault(setting_field.name, _older_value(setting_field))
    for inner_class, inner in plain_sections(cls, raw):
        add_later_settings(inner_class, inner)


def drop_later_settings(cls: Type[Any], raw: Dict[str, Any]) -> None:
    """Drop from a section as plain data the later settings that are as in older runs.

    What is left is the same for an older run and for a new one that does the same.

    Args:
        cls: the class of the section.
        raw: its keys and values, changed in place, with the sections in it.
    """
    for setting_field in _later_fields(cls):
        older = _older_value(setting_field)
        if raw.get(setting_field.name, older) == older:
            raw.pop(setting_field.name, None)
    for inner_class, inner in plain_sections(cls, raw):
        drop_later_settings(inner_class, inner)


def from_plain(cls: Type[T], raw: Any, where: str = "") -> T:
    """A section, and all sections in it, made of plain data.

    Args:
        cls: the class of the section.
        raw: its keys and values.
        where: its dotted key, for messages; empty for the whole of run.json.

    Raises:
        SpecError: something is not an object, or keys are unknown or missing.
    """
    shown = where or "run.json"
    if not isinstance(raw, dict):
        raise SpecError("{} must be an object, not {!r}".format(shown, raw))
    names = {entry.name for entry in fields(cls)}  # type: ignore[arg-type]  # a dataclass
    unknown = sorted(set(raw) - names)
    missing = sorted(names - set(raw))
    if unknown or missing:
        raise SpecError("{}: unknown keys {}, missing keys {}".format(shown, unknown, missing))
    values = {}
    for setting_field in fields(cls):  # type: ignore[arg-type]  # a dataclass
        key = join(where, setting_field.name)
        values[setting_field.name] = _value_of(setting_field, raw[setting_field.name], key)
    return cls(**values)


def join(where: str, name: str) -> str:
    """The dotted key of a setting in a section."""
    return "{}.{}".format(where, name) if where else name


def _value_of(setting_field: Field[Any], raw: Any, key: str) -> Any:
    classes = section_classes(setting_field.type)
    if not classes:
        return raw
    if raw is None and type(None) in getattr(setting_field.type, "__args__", ()):
        return None
    if not isinstance(raw, dict):
        raise SpecError("{} must be an object, not {!r}".format(key, raw))
    inner_class = _class_of(setting_field, raw)
    if inner_class is None:
        problem = SpecProblem(key + ".name", raw.get("name"), "one of " + _names(classes))
        raise SpecError(str(problem))
    return from_plain(inner_class, raw, key)


def _class_of(setting_field: Field[Any], raw: Any) -> Optional[Type[Any]]:
    """The class of a section that is plain data; None for what is not a section of a known kind."""
    classes = section_classes(setting_field.type)
    if not classes or not isinstance(raw, dict):
        return None
    if len(classes) == 1:
        return classes[0]
    chosen: Optional[Type[Any]] = setting_field.metadata["choose"](raw)
    return chosen


def _names(classes: Sequence[Type[Any]]) -> str:
    """What ``name`` may be in any of several sections."""
    names: List[str] = []
    for cls in classes:
        for setting_field in fields(cls):
            if setting_field.name == "name":
                names += setting_field.metadata["choices"]
    return ", ".join(sorted(names))


def _later_fields(cls: Type[Any]) -> List[Field[Any]]:
    return [setting_field for setting_field in fields(cls) if "since" in setting_field.metadata]


def _older_value(setting_field: Field[Any]) -> Any:
    """What stands for a run that is older than the setting, as plain data."""
    if "older" in setting_field.metadata:
        value = setting_field.metadata["older"]
    elif setting_field.default_factory is not MISSING:
        value = setting_field.default_factory()
    else:
        value = setting_field.default
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return copy.deepcopy(value)
