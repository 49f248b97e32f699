"""Makes a job of a script alone: its name, its folder, and the default resources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpcdl.job.names import job_name
from hpcdl.yamlfile.reader import Located


def document_of(script: Path, args: Sequence[str], shown: str) -> Located:
    """The job file that somebody would have written for a script.

    Args:
        script: the script, its folder resolved.
        args: the script's arguments.
        shown: how messages call the place of its keys.
    """
    name = job_name(script.stem)
    keys = {"name": Located(name, shown, name), "script": Located(str(script), shown, str(script))}
    if args:
        words = [Located(word, shown, word) for word in args]
        keys["args"] = Located(words, shown)
    return Located(keys, f"{shown}:1")
