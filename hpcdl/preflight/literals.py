"""Texts that a job gets as they are written, where a shell would put something else in their place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hpcdl.job import Job
from hpcdl.preflight import Finding

# $NAME, ${NAME} and $(command); ~ at the beginning of a path. $1 and a$ are texts of their own.
_OF_A_SHELL = re.compile(r"\$(?:[A-Za-z_]\w*|\{\w+\}|\([^)]*\))|(?:^|(?<==))~(?=/|$)", re.ASCII)
_EXPANDS = ("expandvars", "expanduser")


def literals(job: Job, sources: dict[str, str]) -> Iterator[Finding]:
    """Warn of variables and ~ in arguments and environment variables, which nothing replaces.

    Args:
        job: the job.
        sources: its programs: one that replaces variables itself is left in peace.
    """
    if any(word in source for source in sources.values() for word in _EXPANDS):
        return
    for key, text in _texts(job):
        match = _OF_A_SHELL.search(text)
        if match:
            cause = f"{key} is {text}, and is passed on as it is: no shell puts anything in place of {match[0]}"
            yield Finding(
                cause,
                "write the value itself, or let the program read it from os.environ",
                "job",
                key,
                False,
            )


def _texts(job: Job) -> Iterator[tuple[str, str]]:
    for number, text in enumerate(job.args):
        yield f"args[{number}]", text
    for name, text in job.env.items():
        yield f"env.{name}", text
    given: dict[str, Any] = job.data.args if job.data else {}
    for name, value in given.items():
        if isinstance(value, str):
            yield f"data.args.{name}", value
