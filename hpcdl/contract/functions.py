"""Names of the user's functions: ``package.module:function``."""

from __future__ import annotations

import re

_FUNCTION = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):[A-Za-z_]\w*")


def is_function(text: str) -> bool:
    """Whether a text names a function; ``module.py`` is a file's name, not a module's."""
    match = _FUNCTION.fullmatch(text)
    return match is not None and not match.group(1).endswith(".py")


def did_you_mean_function(text: str) -> str:
    """``; did you mean module:function?`` for a function named by its file or with a dot."""
    name = re.sub(r"\s|\(\)$|^(\./)+", "", text).replace("/", ".").replace(".py:", ":")
    if ":" not in name:
        name = ":".join(name.rsplit(".", 1))
    return "; did you mean {}?".format(name) if is_function(name) else ""
