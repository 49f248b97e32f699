"""Names: of jobs, which are valid and a valid one for a file; and of functions."""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def job_name(text: str) -> str:
    """A valid job name for a file's: accents go, what no name can have becomes a dash."""
    import unicodedata  # here: a job file has its name already

    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", plain)
    return name.lstrip("._-")[:100].rstrip("-") or "script"


_FUNCTION = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):[A-Za-z_]\w*")


def is_function(text: str) -> bool:
    """Whether a text names a function as ``package.module:function``; ``module.py`` is a file's name."""
    match = _FUNCTION.fullmatch(text)
    return match is not None and not match[1].endswith(".py")


def meant(text: str) -> str:
    """``; did you mean module:function?`` for a function that is named by its file, or with a dot."""
    name = re.sub(r"\s|\(\)$|^(\./)+", "", text).replace("/", ".").replace(".py:", ":")
    if ":" not in name:
        name = ":".join(name.rsplit(".", 1))
    return f"; did you mean {name}?" if is_function(name) else ""
