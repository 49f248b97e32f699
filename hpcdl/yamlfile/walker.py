"""Fills a dataclass from a YAML document and reports every problem at once.

It walks the document and has `leaf` convert one value at a time. Bounds and meanings come from
the fields' metadata (`hpcdl.contract.spec.setting`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from math import inf
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from hpcdl.errors import Problem
from hpcdl.text import did_you_mean, show
from hpcdl.yamlfile.leaf import BOUNDS, convert, options_of
from hpcdl.yamlfile.reader import Located

T = TypeVar("T")
Special = Callable[["Walker", Located, str], Any]


class Walker:
    """Collects problems while it fills dataclasses.

    Args:
        problems: where problems are added.
        specials: own converters for annotations that need one, such as a union of sections.
    """

    def __init__(self, problems: list[Problem], specials: dict[Any, Special] | None = None) -> None:
        self.problems = problems
        self.specials = specials or {}

    def add(self, item: Located, key: str, message: str) -> None:
        """Report one problem at the place of item."""
        self.problems.append(Problem(item.where, key, message))

    def fill(self, cls: type[T], item: Located, key: str = "") -> T | None:
        """Make a cls from a mapping; None (and a problem) where that cannot be done."""
        known = {f.name: f for f in fields(cls) if not f.metadata.get("internal")}  # type: ignore[arg-type]  # a dataclass
        if not isinstance(item.value, dict):
            self.add(
                item,
                key,
                f"expected a section with the keys {', '.join(known)}; got {show(item.plain())}",
            )
            return None
        for name, inner in item.value.items():
            if name not in known:
                self.add(
                    inner,
                    _join(key, name),
                    f"unknown key{_pasted(name) or did_you_mean(name, known)}",
                )
        hints = get_type_hints(cls)
        before = len(self.problems)
        values = {
            name: self._field(f, hints[name], item, _join(key, name)) for name, f in known.items()
        }
        if len(self.problems) > before:
            return None
        return cls(**{name: value for name, value in values.items() if value is not MISSING})

    def _field(self, f: Field[Any], hint: Any, parent: Located, key: str) -> Any:
        item = parent.value.get(f.name)
        if item is None:
            if f.default is MISSING and f.default_factory is MISSING:
                self.add(parent, key, f"missing; expected {f.metadata.get('doc', 'a value')}")
            return MISSING
        return self.value(hint, f.metadata, item, key)

    def value(self, hint: Any, metadata: Any, item: Located, key: str) -> Any:
        """Convert one value to the annotation hint, within the bounds of metadata."""
        options = options_of(hint)
        if item.value is None:
            if type(None) not in options:
                self.add(item, key, f"is empty; expected {expected(hint, metadata)}")
            return None
        options = [option for option in options if option is not type(None)]
        for option in options:
            if option in self.specials:
                return self.specials[option](self, item, key)
        if len(options) == 1 and is_dataclass(options[0]):
            return self.fill(options[0], item, key)  # type: ignore[arg-type]  # is_dataclass narrows badly
        if len(options) == 1 and get_origin(options[0]) is dict and isinstance(item.value, dict):
            inner = get_args(options[0])[1]
            if inner is not Any:
                return {
                    k: self.value(inner, metadata, v, _join(key, k)) for k, v in item.value.items()
                }
        if str in options:
            item = _as_text(item)
        elif any(get_origin(option) is list and str in get_args(option) for option in options):
            item = _texts(item)
        try:
            converted = convert(item.plain(), hint, metadata)
        except (ValueError, OverflowError):
            converted = inf
        if converted == inf:  # no setting is infinite
            close = (
                did_you_mean(item.value, metadata["choices"], also="")
                if "choices" in metadata
                else ""
            )
            self.add(
                item, key, f"expected {expected(hint, metadata)}; got {show(item.plain())}{close}"
            )
            return None
        return converted


def _as_text(item: Located) -> Located:
    return item if item.raw is None or item.value is None else Located(item.raw, item.where)


def _texts(item: Located) -> Located:
    return (
        Located([_as_text(i) for i in item.value], item.where)
        if isinstance(item.value, list)
        else item
    )


_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    dict: "a section of keys and values",
}
_MANY = {int: "whole numbers", float: "numbers", str: "texts"}


def expected(hint: Any, metadata: Any) -> str:
    """What a field takes, in words: ``a whole number >= 1``."""
    options = [option for option in options_of(hint) if option is not type(None)]
    bounds = " and ".join(
        f"{sign} {metadata[name]}" for name, (_, sign) in BOUNDS.items() if name in metadata
    )
    parts = []
    for option in options:
        if option is str and "choices" in metadata:
            parts.append("one of " + ", ".join(metadata["choices"]))
        elif get_origin(option) is list:
            least = "at least one of " if metadata.get("min_length") else ""
            parts.append(f"a list of {least}{_MANY.get(get_args(option)[0], 'values')}")
        else:
            parts.append(_WORDS.get(get_origin(option) or option, "a section"))
    words = " or ".join(parts)
    return f"{words} {bounds}" if bounds else words


def _pasted(name: str) -> str:
    """What to say of a key with the blanks or quotes of a web page or a word processor."""
    if set(name) & set("\u00a0\u2007\u202f\u2018\u2019\u201c\u201d"):
        return "; it has a no-break space or a curly quote, as web pages and word processors make them: type it anew"
    return ""


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
