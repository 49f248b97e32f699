"""Fills a dataclass from a YAML document and reports every problem at once.

It walks the document and has `leaf` convert one value at a time. Bounds and meanings come from
the fields' metadata (`hpcdl.contract.settings.setting`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from math import isinf
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from hpcdl.contract.settings import join
from hpcdl.errors import Problem
from hpcdl.text import did_you_mean, show
from hpcdl.yamlfile.leaf import BOUNDS, convert, options_of
from hpcdl.yamlfile.reader import Located

T = TypeVar("T")
Special = Callable[["Walker", Located, str], Any]
Metadata = Mapping[str, Any]

_NO_BREAK_SPACES = "\u00a0\u2007\u202f"
_CURLY_QUOTES = "\u2018\u2019\u201c\u201d"
_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    dict: "a section of keys and values",
}
_MANY = {int: "whole numbers", float: "numbers", str: "texts"}
_EMPTY: dict[Any, Any] = {str: "", int: 0, float: 0.0, bool: False}


class Walker:
    """Collects problems while it fills dataclasses.

    Args:
        problems: where problems are added.
        specials: own converters for annotations that need one, such as a union of sections.

    ``refused`` are the keys whose values could not be used. What was filled has stand-ins there.
    """

    def __init__(self, problems: list[Problem], specials: dict[Any, Special] | None = None) -> None:
        self.problems = problems
        self.specials = specials or {}
        self.refused: set[str] = set()

    def add(self, item: Located, key: str, message: str) -> None:
        """Report one problem at the place of item."""
        self.problems.append(Problem(item.where, key, message))

    def refuse(self, item: Located, key: str, message: str) -> None:
        """Report a value that cannot be used."""
        self.add(item, key, message)
        self.refused.add(key)

    def trusts(self, keys: Iterable[str]) -> bool:
        """Whether none of these keys, nor a section around one, was refused."""
        return not any(is_inside(key, refused) for key in keys for refused in self.refused)

    def fill(self, cls: type[T], item: Located, key: str = "") -> T | None:
        """Make a cls from a mapping.

        Where a value cannot be used, that is a problem, and its default stands in for it, or the
        empty value of its type. So rules can be checked on all other values.

        Args:
            cls: the dataclass.
            item: the mapping.
            key: its dotted key.

        Returns:
            the instance, to be used only if there are no problems; None if item is not a mapping.
        """
        settings = {}
        for setting_field in fields(cls):  # type: ignore[arg-type]  # a dataclass
            if not setting_field.metadata.get("internal"):
                settings[setting_field.name] = setting_field
        if not isinstance(item.value, dict):
            keys = ", ".join(settings)
            message = f"expected a section with the keys {keys}; got {show(item.plain())}"
            self.refuse(item, key, message)
            return None
        for name, inner in item.value.items():
            if name not in settings:
                meant = _pasted(name) or did_you_mean(name, settings)
                self.add(inner, join(key, name), f"unknown key{meant}")
        hints = get_type_hints(cls)
        values = {}
        for name, setting_field in settings.items():
            value = self._field(setting_field, hints[name], item, join(key, name))
            if value is not MISSING:
                values[name] = value
        return cls(**values)

    def _field(self, setting_field: Field[Any], hint: Any, parent: Located, key: str) -> Any:
        """The value of one key; MISSING where its default holds."""
        item = parent.value.get(setting_field.name)
        if item is not None:
            value = self.value(hint, setting_field.metadata, item, key)
            if key not in self.refused:
                return value
        if setting_field.default is not MISSING or setting_field.default_factory is not MISSING:
            return MISSING
        if item is None:
            doc = setting_field.metadata.get("doc", "a value")
            self.refuse(parent, key, f"missing; expected {doc}")
        return _EMPTY.get(hint)

    def value(self, hint: Any, metadata: Metadata, item: Located, key: str) -> Any:
        """Convert one value to the annotation hint, within the bounds of metadata."""
        options = options_of(hint)
        if item.value is None:
            if type(None) not in options:
                self.refuse(item, key, f"is empty; expected {expected(hint, metadata)}")
            return None
        options = [option for option in options if option is not type(None)]
        for option in options:
            if option in self.specials:
                return self.specials[option](self, item, key)
        if len(options) == 1 and is_dataclass(options[0]):
            section = _section(item, metadata)
            return self.fill(options[0], section, key)  # type: ignore[arg-type]  # narrows badly
        if len(options) == 1 and get_origin(options[0]) is dict and isinstance(item.value, dict):
            inner_hint = get_args(options[0])[1]
            if inner_hint is not Any:
                return self._values(inner_hint, metadata, item.value, key)
        if metadata.get("single") and isinstance(item.value, str):
            item = Located([item], item.where)  # one word stands for a list of it
        return self._leaf(hint, metadata, _as_written(item, options), key)

    def _values(
        self, hint: Any, metadata: Metadata, items: Mapping[str, Located], key: str
    ) -> dict[str, Any]:
        """The values of a section whose keys the user chooses."""
        values = {}
        for name, item in items.items():
            values[name] = self.value(hint, metadata, item, join(key, name))
        return values

    def _leaf(self, hint: Any, metadata: Metadata, item: Located, key: str) -> Any:
        try:
            converted = convert(item.plain(), hint, metadata)
        except (ValueError, OverflowError):
            return self._refuse_value(hint, metadata, item, key)
        if isinstance(converted, float) and isinf(converted):  # no setting may be infinite
            return self._refuse_value(hint, metadata, item, key)
        return converted

    def _refuse_value(self, hint: Any, metadata: Metadata, item: Located, key: str) -> None:
        close = ""
        if "choices" in metadata:
            close = did_you_mean(item.value, metadata["choices"], also="")
        words = expected(hint, metadata)
        self.refuse(item, key, f"expected {words}; got {show(item.plain())}{close}")


def is_inside(key: str, section: str) -> bool:
    """Whether a dotted key is a section's, or one in it: ``data.augment[2]`` in ``data``."""
    return key == section or key.startswith((f"{section}.", f"{section}["))


def expected(hint: Any, metadata: Metadata) -> str:
    """What a field takes, in words: ``a whole number >= 1``."""
    parts = []
    for option in options_of(hint):
        if option is type(None):
            continue
        if option is str and "choices" in metadata:
            parts.append("one of " + ", ".join(metadata["choices"]))
        elif get_origin(option) is list:
            least = "at least one of " if metadata.get("min_length") else ""
            parts.append(f"a list of {least}{_MANY.get(get_args(option)[0], 'values')}")
        else:
            parts.append(_WORDS.get(get_origin(option) or option, "a section"))
    words = " or ".join(parts)
    bounds = []
    for name, (_, sign) in BOUNDS.items():
        if name in metadata:
            bounds.append(f"{sign} {metadata[name]}")
    return f"{words} {' and '.join(bounds)}" if bounds else words


def _section(item: Located, metadata: Metadata) -> Located:
    """A section that was written as one word, with that word as the key that it stands for."""
    if "word" not in metadata or not isinstance(item.value, str):
        return item
    return Located({metadata["word"]: item}, item.where)


def _as_written(item: Located, options: Iterable[Any]) -> Located:
    """An item with its own text where text is expected, alone or in a list."""
    if str in options and type(item.value) not in options:
        return _as_text(item)
    for option in options:
        if get_origin(option) is list and str in get_args(option):
            return _as_texts(item)
    return item


def _as_text(item: Located) -> Located:
    if item.raw is None or item.value is None:
        return item
    return Located(item.raw, item.where)


def _as_texts(item: Located) -> Located:
    if not isinstance(item.value, list):
        return item
    return Located([_as_text(inner) for inner in item.value], item.where)


def _pasted(name: str) -> str:
    """What to say of a key with the blanks or quotes of a web page or a word processor."""
    if not set(name) & set(_NO_BREAK_SPACES + _CURLY_QUOTES):
        return ""
    return (
        "; it has a no-break space or a curly quote, as web pages and word processors make them: "
        "type it again"
    )
