"""Texts of a job in which a shell would replace something, but nothing does."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpcdl.job import Job
from hpcdl.preflight import Finding

# $NAME, ${NAME} and $(command); ~ at the beginning of a path. $1 and a$ are plain texts.
_OF_A_SHELL = re.compile(r"\$(?:[A-Za-z_]\w*|\{\w+\}|\([^)]*\))|(?:^|(?<==))~(?=/|$)", re.ASCII)
_EXPANDS = ("expandvars", "expanduser")


def literals(job: Job, sources: dict[str, str]) -> Iterator[Finding]:
    """Warn of variables and ~ in arguments and environment variables, which nothing replaces.

    Args:
        job: the job.
        sources: its programs. There is no warning if one of them replaces variables itself.
    """
    for source in sources.values():
        if any(word in source for word in _EXPANDS):
            return
    for key, text in _texts(job):
        match = _OF_A_SHELL.search(text)
        if match:
            unchanged = f"{key} is {text}, and the program gets exactly that"
            cause = f"{unchanged}: no shell replaces {match[0]}"
            fix = "write the value itself, or let the program read it from os.environ"
            yield Finding(cause, fix, "job", key, False)


def _texts(job: Job) -> Iterator[tuple[str, str]]:
    """The texts that a program gets, each with its key."""
    for number, text in enumerate(job.args):
        yield f"args[{number}]", text
    for name, text in job.env.items():
        yield f"env.{name}", text
    if job.data is None:
        return
    for name, value in job.data.args.items():
        if isinstance(value, str):
            yield f"data.args.{name}", value
