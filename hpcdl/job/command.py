"""A job that is a command of hpcdl's: which commands may be one, and what their words mean."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from hpcdl.errors import Problem
from hpcdl.job.sections import Resources
from hpcdl.text import did_you_mean, show
from hpcdl.yamlfile.reader import Located

# The commands that do something on a node: each by its first words
ON_A_NODE = (
    ("data", "pack"),
    ("data", "stage"),
    ("data", "verify"),
    ("data", "list"),
    ("export",),
    ("report",),
    ("compare",),
    ("result",),
    ("cost",),
)
COMMAND_MEMORY_GB = 4.0  # of a command that asks for none
NOT_WITH_COMMAND = (
    *("data", "model", "train", "script", "args", "stop_signal", "container"),
    *("files", "packages", "pythonpath", "sweep"),
)
WHY_NOT_WITH_COMMAND = (
    "goes with a model or a script; this job is an hpcdl command, which runs without a container"
)
_SHELLS = re.compile(r"[|&;<>]+|\d?>{1,2}&?\S*")  # words that a shell reads otherwise
_STEP = re.compile(r"\{([A-Za-z0-9._-]+)\}")  # {train}: the run of that step


def with_words(document: Located, problems: list[Problem]) -> Located:
    """The document with the words of ``hpcdl`` as a list, if they were written as one text.

    A first word ``hpcdl`` is left out: many write the whole command.

    Args:
        document: a job's.
        problems: one is added if a quotation mark is left open.
    """
    item = document.value.get("hpcdl") if isinstance(document.value, dict) else None
    if item is None:
        return document
    if isinstance(item.value, str):
        try:
            words = shlex.split(item.value)
        except ValueError as error:
            message = f"expected words, as a shell reads them; got {show(item.value)}: {error}"
            problems.append(Problem(item.where, "hpcdl", message))
            words = []
        item = Located([Located(word, item.where, word) for word in words], item.where)
    if isinstance(item.value, list) and item.value and item.value[0].value == "hpcdl":
        item = Located(item.value[1:], item.where)
    document.value["hpcdl"] = item  # the checks read it there, too
    return document


def command_problems(item: Located) -> Iterator[Problem]:
    """What is wrong with a command, as far as its words show.

    Args:
        item: the words, as `with_words` leaves them.
    """
    words = item.plain()
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return  # its type is refused
    for word in words:
        if _SHELLS.fullmatch(word):
            message = f"has {word!r}, and no shell reads it: what it prints is in the run's log"
            yield Problem(item.where, "hpcdl", f"{message} (hpcdl logs RUN); take {word!r} away")
            return
    if not any(_begins(words, allowed) for allowed in ON_A_NODE):
        names = [" ".join(allowed) for allowed in ON_A_NODE]
        given = " ".join(words[:2]) or "nothing"
        close = did_you_mean(given, names, also="")
        message = f"expected one of {', '.join(names)}; got {show(given)}{close}"
        fix = "call other commands on the login node, or from a script"
        yield Problem(item.where, "hpcdl", f"{message}: {fix}")
    elif words[0] == "report" and "--open" in words:
        message = "a node has no browser: take --open away, and open the page when it is there"
        yield Problem(item.where, "hpcdl", message)


def _begins(words: Sequence[str], begin: Sequence[str]) -> bool:
    return list(words[: len(begin)]) == list(begin)


def small_resources(resources: Resources, document: Located) -> Resources:
    """The resources of a command: no GPU and one CPU, unless the job says more."""
    written = document.items_of("resources")
    gpus = resources.gpus if "gpus" in written else 0
    cpus = resources.cpus if "cpus" in written else 1
    return replace(resources, gpus=gpus, cpus=cpus)


def with_data_root(words: Sequence[str], data_root: str) -> list[str]:
    """The words of a command, with the profile's folder of sets if it is about sets.

    So the node needs no profile to know it, and what is sent says it.
    """
    says_where = ("--data-root", "--cluster", "-c", "--to")
    if words[0] != "data":
        return list(words)
    for word in words:
        if word.partition("=")[0] in says_where:
            return list(words)
    return [*words, "--data-root", data_root]


def steps_in(words: Sequence[str]) -> list[str]:
    """The steps of a pipeline that a command names: ``{train}`` is the run of the step train."""
    names: list[str] = []
    for word in words:
        names += _STEP.findall(word)
    return list(dict.fromkeys(names))


def with_runs(words: Sequence[str], folders: Mapping[str, str]) -> list[str]:
    """The words of a command with the run's folder for each step that they name.

    Args:
        words: the command's.
        folders: the run's folder, by the step's name.
    """
    placed = []
    for word in words:
        placed.append(_STEP.sub(lambda match: folders.get(match[1], match[0]), word))
    return placed


def shown_command(words: Sequence[str]) -> str:
    """A command as a user would type it."""
    return shlex.join(["hpcdl", *words])
