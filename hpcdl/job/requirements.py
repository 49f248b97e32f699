"""Reads a requirements file: the lines that pip will get, and what cannot be in one here."""

from __future__ import annotations

import re
from pathlib import Path

# A name, extras, then a version, a URL or a marker:
# https://packaging.python.org/specifications/dependency-specifiers
_REQUIREMENT = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\s*(\[[^\]]*\])?\s*([<>=!~;@(].*)?"
)
_NESTED = re.compile(r"(?:-r|--requirement)[\s=]*(\S.*)")
_WHERE_PIP_LOOKS = re.compile(
    r"(-i|-f|--index-url|--extra-index-url|--find-links|--no-index|--trusted-host)\b"
)
_EDITABLE = re.compile(r"(-e|--editable)\b")
_SECRET = re.compile(r"://[^/\s]*@")
_COMMENT = re.compile(r"(^|\s)#.*")
_DEEPEST = 10  # files that name files


def read_requirements(path: Path) -> tuple[list[str], list[str]]:
    """The requirements of a file and of those that it names with ``-r``, sorted, without comments.

    Requirements by name, with versions, extras, markers or ``@ URL``, are taken. What would change
    where pip looks, or install what only this machine has, is refused.

    Returns:
        the requirements, and what is wrong, each with its file and line.
    """
    requirements: set[str] = set()
    problems: list[str] = []
    _read(path, requirements, problems, 0)
    if not requirements and not problems:
        problems.append(f"{path.name} names no package")
    return sorted(requirements), problems


def _read(path: Path, requirements: set[str], problems: list[str], depth: int) -> None:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        problems.append(f"cannot read {path}: {error.strerror}")
        return
    except UnicodeDecodeError:
        problems.append(f"cannot read {path}: it is not UTF-8 text")
        return
    begun = ""
    for number, line in enumerate([*text.splitlines(), ""], 1):
        begun += line
        if line.endswith("\\"):  # goes on in the next line
            begun = begun[:-1]
            continue
        requirement = _COMMENT.sub("", begun).strip()
        begun = ""
        nested = _NESTED.fullmatch(requirement)
        if nested and depth < _DEEPEST:
            _read(path.parent / nested[1], requirements, problems, depth + 1)
        elif requirement:
            message = _refusal(requirement)
            if message:
                problems.append(f"{path.name}:{number}: {message}")
            else:
                requirements.add(requirement)


def _refusal(line: str) -> str:
    """Why a line is refused, or nothing."""
    shown = _SECRET.sub("://***@", line)
    if _SECRET.search(line):
        see = "see PIP_INDEX_URL or ~/.netrc"
        return f"{shown} holds a password, which would be kept with the run; {see}"
    if not line.isprintable():
        return f"{line!r} has a control character"
    if re.match(r"(-r|--requirement)\b", line):
        return "files name files more than ten deep"
    if _WHERE_PIP_LOOKS.match(line):
        settings = "pip's own settings (PIP_INDEX_URL, pip.conf)"
        return f"{shown}: say where packages come from in {settings}, or --wheels DIR"
    if _EDITABLE.match(line) or line.startswith((".", "/", "~", "file:")) or "file:/" in line:
        fix = "build a wheel of it and give its name, or see pythonpath"
        return f"{shown} is a folder or file of this machine; {fix}"
    if line.startswith("-") or " --" in line:
        return f"{shown}: options of pip are not taken; expected a package such as pandas>=2"
    if not _REQUIREMENT.fullmatch(line):
        return f"{shown} is not a requirement; expected a package such as pandas>=2"
    return ""
