"""YAML read as its users mean it, with the place of every value kept.

PyYAML's defaults read ``1e-3`` as text, ``12:30`` as 750, ``on`` as true and
the second of two equal keys in silence. Here only JSON's scalars (and ``~``,
``0x1f``, ``0o17``, ``.inf``, ``.nan``) are special, and equal keys are an error.
Anchors, aliases and merge keys (``<<: *base``) work as YAML defines them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import yaml

from hpcdl.contract.settings import join
from hpcdl.errors import Problem

MAX_VALUES = 10_000  # a job file has dozens; aliases of aliases can make billions
MAX_DEPTH = 50
# "\0" and "\ud83d" in double quotes: no program's argument can hold them
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclass
class Located:
    """A value and where it was written: a scalar, or a dict or list of `Located`.

    ``raw`` is a scalar's own text: where text is expected, ``name: 007`` means "007".
    """

    value: Any
    where: str
    raw: str | None = None

    def plain(self) -> Any:
        """The value without its places."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value

    def places(self, key: str = "") -> dict[str, str]:
        """Where each key was written: ``{"": "a.yaml:1", "resources.time": "a.yaml:3", ...}``."""
        places = {key: self.where}
        if isinstance(self.value, dict):
            for name, item in self.value.items():
                places.update(item.places(join(key, name)))
        return places

    def items_of(self, key: str) -> dict[str, Located]:
        """The keys of a section in this one; none if it is missing or not a section."""
        section = self._inner(key)
        if section is None or not isinstance(section.value, dict):
            return {}
        items: dict[str, Located] = section.value
        return items

    def at(self, key: str) -> Located:
        """The value of a dotted key, such as ``train.jit`` or ``data.augment[2]``.

        If it was not written, this is the innermost section around it that was.
        """
        item = self
        for part in re.findall(r"[^.\[\]]+", key):
            inner = item._inner(part)
            if inner is None:
                break
            item = inner
        return item

    def _inner(self, part: str) -> Located | None:
        """The value of one key of a section, or at one place of a list; None if missing."""
        inner: Located | None = None
        if isinstance(self.value, dict):
            inner = self.value.get(part)
        elif isinstance(self.value, list) and part.isdecimal() and int(part) < len(self.value):
            inner = self.value[int(part)]
        return inner


_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[misc]  # chosen at run time
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first
    )


def decode(data: bytes) -> str:
    """The text of a file's bytes.

    Raises:
        ValueError: it is not UTF-8 text; what it is, and how to change that.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:4]:
        what = "it is UTF-16, which Windows calls Unicode"
        raise ValueError(
            f"is not UTF-8 text ({what}; save it as UTF-8, or: iconv -f UTF-16 -t UTF-8 OLD > NEW)"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        how = "save it as UTF-8, or: iconv -f ISO-8859-1 -t UTF-8 OLD > NEW"
        raise ValueError(f"is not UTF-8 text (byte {error.start}; {how})") from error


def read_yaml(text: str, name: str, problems: list[Problem]) -> Located | None:
    """Read one YAML document.

    Args:
        text: the document.
        name: what to call it in messages; lines are added as ``name:7``.
        problems: where problems are added.

    Returns:
        The document, or None if it could not be read at all.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as error:
        line = _line_too_deep(text)
        if line is not None:
            message = (
                f"far too deep: nested more than {MAX_DEPTH} levels, where a job file has five"
            )
            problems.append(Problem(f"{name}:{line}", "", message))
            return None
        mark = getattr(error, "problem_mark", None)
        detail = getattr(error, "problem", None) or str(error).partition("\n")[0]
        where, hint = name, ""
        if mark:
            where, hint = f"{name}:{mark.line + 1}", _hint(text, detail, mark)
        problems.append(Problem(where, "", f"this is not YAML: {detail}{hint}"))
        return None
    except UnicodeEncodeError:  # bytes of the command line that are not text
        problems.append(Problem(name, "", "is not UTF-8 text"))
        return None
    if root is None:
        return Located({}, f"{name}:1")
    return _Converter(name, problems).convert(root, "")


def _line_too_deep(text: str) -> int | None:
    """The line where a document that cannot be read is nested deeper than `MAX_DEPTH`, or None.

    PyYAML's own limit depends on its version and on how it was built. So hpcdl looks for its limit
    first, with the part of PyYAML that has none.
    """
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                line = getattr(event.start_mark, "line", 0)
                return int(line) + 1
    except yaml.YAMLError:
        pass  # the document has another fault before it is too deep
    return None


def _hint(text: str, detail: str, mark: Any) -> str:
    """What is wrong, most likely, with a text that is not YAML.

    Args:
        text: the text.
        detail: the parser's words.
        mark: the place where the parser gave up, which may be the line after.
    """
    if detail == "but found another document":
        return " (one job to a file: --- begins another document)"
    lines = f"{text}\n".split("\n")
    if "\t" in lines[mark.line][: mark.column + 1]:
        return " (YAML is indented with spaces, never tabs)"
    for line in lines[max(0, mark.line - 1) : mark.line + 1]:
        glued = re.match(r"\s*([a-z_]+):(?=[^\s/:])", line)
        if glued:
            return f" (a space belongs behind the colon of {glued[1]}:)"
        listed = re.search(r"\{.*?([\w.&|*-]+\[[^\]\s]*\][\w.&|*-]*)", line)
        if listed:
            return f' (between braces, text with [ ] needs quotes: "{listed[1]}")'
    return ""


def read_value(text: str, where: str, problems: list[Problem]) -> Located:
    """Read the right-hand side of a ``--set key=value``: YAML, or else plain text."""
    if not text.strip():
        return Located("", where, "")
    own_problems: list[Problem] = []
    value = read_yaml(text, where, own_problems)
    if own_problems or value is None:
        problems.extend(Problem(where, "", problem.message) for problem in own_problems)
        return Located(None, where)
    return _relocate(value, where)


def _relocate(item: Located, where: str) -> Located:
    """The same value at another place."""
    value = item.value
    if isinstance(value, dict):
        value = {key: _relocate(inner, where) for key, inner in value.items()}
    elif isinstance(value, list):
        value = [_relocate(inner, where) for inner in value]
    return Located(value, where, item.raw)


class _Converter:
    """Turns PyYAML's nodes into `Located` values."""

    def __init__(self, name: str, problems: list[Problem]) -> None:
        self.name = name
        self.problems = problems
        self.open: set[int] = set()
        self.count = 0

    def convert(self, node: yaml.Node, key: str) -> Located:
        where = f"{self.name}:{node.start_mark.line + 1}"
        self.count += 1
        if id(node) in self.open or self.count > MAX_VALUES or len(self.open) > MAX_DEPTH:
            if self.count <= MAX_VALUES + 1:
                what = "an alias that holds itself, or far too many values, or far too deep"
                self.problems.append(Problem(where, key, what))
            self.count = MAX_VALUES + 2
            return Located(None, where)
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return Located(self._mapping(node, key), where)
            if isinstance(node, yaml.SequenceNode):
                items = []
                for number, item in enumerate(node.value):
                    items.append(self.convert(item, f"{key}[{number}]"))
                return Located(items, where)
            return Located(self._scalar(node, key, where), where, str(node.value))
        finally:
            self.open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, key: str) -> dict[str, Located]:
        """A section's own keys, in their order, then those that ``<<`` merges into it."""
        section: dict[str, Located] = {}
        merged: list[yaml.Node] | None = None
        for key_node, value_node in node.value:
            where = f"{self.name}:{key_node.start_mark.line + 1}"
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(where, key, "a key must be plain text"))
                continue
            inner = str(key_node.value)
            if inner == "<<" and not key_node.style:
                if merged is not None:
                    message = "given twice; several are merged as <<: [*NAME, *NAME]"
                    self.problems.append(Problem(where, join(key, "<<"), message))
                merged = self._sources(value_node, key, where)
                continue
            if _NO_TEXT.search(inner):
                self.problems.append(Problem(where, key, f"no key can be {inner!a}"))
                continue
            path = join(key, inner)
            if inner in section:
                message = f"given twice, first at {section[inner].where}"
                self.problems.append(Problem(where, path, message))
                continue
            section[inner] = self.convert(value_node, path)
        for source in merged or []:
            for inner, item in (self.convert(source, key).value or {}).items():
                section.setdefault(inner, item)
        return section

    def _sources(self, node: yaml.Node, key: str, where: str) -> list[yaml.Node]:
        """The sections that a ``<<`` names, the one that counts most first.

        Source: https://yaml.org/type/merge.html: own keys stay, and of several sections the
        first one's keys count.
        """
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if all(isinstance(source, yaml.MappingNode) for source in sources):
            return list(sources)
        message = "<< merges sections: expected *NAME or [*NAME, *NAME], each a section's &NAME"
        self.problems.append(Problem(where, join(key, "<<"), message))
        return []

    def _scalar(self, node: yaml.Node, key: str, where: str) -> Any:
        text = str(node.value)
        if _NO_TEXT.search(text):
            self.problems.append(
                Problem(where, key, "text cannot hold a NUL character, nor half of a character")
            )
        kind = node.tag.rsplit(":", 1)[-1]
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        try:
            if kind == "int":
                base = 0 if text[:2] in ("0o", "0x") else 10
                return int(text, base)
            if kind == "float":
                return float(re.sub(r"\.(inf|nan)$", r"\1", text.lower()))
        except ValueError:
            # A tag on something else, or thousands of digits: what expects a number refuses it
            return text
        if kind != "str":
            self.problems.append(Problem(where, key, f"the YAML tag {node.tag} is not used here"))
        return text
