"""How big a job is that has no job file: from ``--set resources.KEY=VALUE`` alone."""

from __future__ import annotations

from collections.abc import Sequence

from hpcdl.errors import JobError, Problem
from hpcdl.job import Resources, apply_sets, parse_time
from hpcdl.job.node_count import parse_nodes
from hpcdl.yamlfile.reader import Located
from hpcdl.yamlfile.walker import Walker

_SECTION = "resources"


def resources_of(sets: Sequence[str], title: str, defaults: Sequence[str] = ()) -> Resources:
    """The resources that a command line asks for.

    Args:
        sets: ``resources.KEY=VALUE`` texts.
        title: the command, for messages.
        defaults: such texts, where they are others than a job file's.

    Raises:
        JobError: all that is wrong with the sets.
    """
    problems: list[Problem] = []
    for text in sets:
        key, equals, _ = text.partition("=")
        if not equals:
            problems.append(Problem(f"--set {text}", "", "expected key.path=value"))
        elif key.partition(".")[0] != _SECTION:
            message = f"this command knows {_SECTION}.KEY=VALUE alone; the rest is that of the run"
            problems.append(Problem(f"--set {text}", key, message))
    document = Located({}, "")
    own = [text for text in sets if text.startswith(f"{_SECTION}.")]
    apply_sets(document, [*defaults, *own], problems)
    resources = Resources()
    if _SECTION in document.value and not problems:
        section = document.value[_SECTION]
        resources = Walker(problems).fill(Resources, section, _SECTION) or resources
    if not problems:
        try:
            parse_time(resources.time)
        except ValueError as error:
            problems.append(Problem("--set", f"{_SECTION}.time", str(error)))
        try:
            parse_nodes(resources.nodes)
        except ValueError as error:
            problems.append(Problem("--set", f"{_SECTION}.nodes", str(error)))
    if problems:
        raise JobError(title, problems)
    return resources
