"""A pipeline: several jobs in one file, each with the jobs that must be done before it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpcdl.errors import JobError, Problem
from hpcdl.job import apply_sets, load_job, read_document
from hpcdl.job.build import build
from hpcdl.job.command import steps_in
from hpcdl.job.find import find_job
from hpcdl.job.names import NAME
from hpcdl.job.sections import Job
from hpcdl.text import did_you_mean, show
from hpcdl.yamlfile.reader import Located

_STEPS = re.compile(rb"^steps[ \t]*:", re.MULTILINE)
_IN_BRACES = re.compile(rb"""\{[^}\n]*hpcdl:[^"'\n}]*\{""")  # where YAML reads {train} as a section
_KEYS = ("job", "hpcdl", "resources", "set", "after")
_EXPECTED = "expected {job: FILE}, {job: {a job's keys}} or {hpcdl: a command}, with after and set"
_ANY = ":any"


@dataclass(frozen=True)
class Step:
    """One job of a pipeline.

    Args:
        name: of the step.
        job: what it runs; its own ``after`` has runs alone.
        after: the names of the steps that come before it, each with ``:any`` if that may end in
            any way. A command comes after the steps that it names.
    """

    name: str
    job: Job
    after: Sequence[str] = ()

    @property
    def before(self) -> list[str]:
        """The names of the steps that come before it."""
        return [text.removesuffix(_ANY) for text in self.after]


def is_pipeline(name: str) -> bool:
    """Whether a file has steps. False if there is no such file."""
    path = Path(os.path.expanduser(name))
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        return False
    try:
        return _STEPS.search(path.read_bytes()) is not None
    except OSError:
        return False


def load_pipeline(name: str) -> list[Step]:
    """Read a pipeline, with all its jobs.

    Args:
        name: the path of its file.

    Returns:
        the steps, each after those that come before it.

    Raises:
        JobError: all that is wrong in the file and in the jobs that stand in it; or all that is
            wrong in one of the job files that it names.
        UserError: one of these is missing.
    """
    path = find_job(name).path
    problems: list[Problem] = []
    document = read_document(path, name, problems)
    steps: dict[str, Step] = {}
    if document is None and _IN_BRACES.search(path.read_bytes()):
        message = 'within braces put quotes around a command: {hpcdl: "report {train}"}'
        problems.append(Problem(name, "steps", message))
    if document is not None:
        sections = document.items_of("steps")
        if not sections:
            message = "expected {NAME: {job: ..., after: ...}, ...}"
            problems.append(Problem(document.at("steps").where, "steps", message))
        for key, item in document.value.items():
            if key != "steps":
                problems.append(Problem(item.where, key, "unknown key; a pipeline has steps alone"))
        for step_name, section in sections.items():
            step = _step(step_name, section, path, problems)
            if step is not None:
                steps[step_name] = step
        if not problems:
            steps = _with_known(steps, sections, problems)
    if problems:
        raise JobError(name, problems)
    return _in_order(name, list(steps.values()))


def _step(name: str, section: Located, path: Path, problems: list[Problem]) -> Step | None:
    """One step; None, and problems, if something is wrong with it."""
    before = len(problems)
    key = f"steps.{name}"
    if not NAME.fullmatch(name):
        message = f"expected letters, digits, '.', '_' and '-'; got {show(name)}"
        problems.append(Problem(section.where, key, message))
    if not isinstance(section.value, dict) or not {"job", "hpcdl"} & set(section.value):
        problems.append(Problem(section.where, key, _EXPECTED))
        return None
    for other, item in section.value.items():
        if other not in _KEYS:
            close = did_you_mean(other, _KEYS)
            problems.append(Problem(item.where, f"{key}.{other}", f"unknown key{close}"))
    content = section.value.get("job")
    if "hpcdl" in section.value:
        _refuse_job(section, key, problems)
        content = _as_job(name, section)
    elif "resources" in section.value:
        message = "goes with hpcdl; of a job it is one of its own keys: set: [resources.cpus=2]"
        problems.append(Problem(section.value["resources"].where, f"{key}.resources", message))
    sets = _texts(section, "set", key, problems)
    after = _texts(section, "after", key, problems)
    job = None
    if len(problems) == before and content is not None:
        job = _job(content, key, path, sets, problems)
    return None if job is None else Step(name, job, after)


def _refuse_job(section: Located, key: str, problems: list[Problem]) -> None:
    """A step is one job, and not a command as well."""
    if "job" in section.value:
        message = "a step is a job or a command; make two steps of them"
        problems.append(Problem(section.value["job"].where, f"{key}.job", message))


def _as_job(name: str, section: Located) -> Located:
    """The job of a step that is a command: it is called as the step."""
    keys = {"name": Located(name, section.where, name)}
    for key in ("hpcdl", "resources"):
        if key in section.value:
            keys[key] = section.value[key]
    return Located(keys, section.where)


def _texts(section: Located, name: str, key: str, problems: list[Problem]) -> list[str]:
    """A text, or a list of texts; an empty list if the key is missing."""
    item = section.value.get(name)
    if item is None:
        return []
    plain = item.plain()
    texts = [plain] if isinstance(plain, str) else plain
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        message = f"expected a text or a list of texts; got {show(plain)}"
        problems.append(Problem(item.where, f"{key}.{name}", message))
        return []
    return texts


def _job(
    item: Located, key: str, path: Path, sets: Sequence[str], problems: list[Problem]
) -> Job | None:
    """The job of a step: a file, or the keys themselves."""
    if isinstance(item.value, str):
        file = path.parent / os.path.expanduser(item.value)
        return load_job(file, sets)
    if not isinstance(item.value, dict):
        message = f"expected a job file's path, or a job's keys; got {show(item.plain())}"
        problems.append(Problem(item.where, f"{key}.job", message))
        return None
    before = len(problems)
    apply_sets(item, sets, problems)
    if len(problems) > before:
        return None
    return build(item, path.parent.resolve(), "/".join(path.parts[-2:]), problems)


def _with_known(
    steps: dict[str, Step], sections: dict[str, Located], problems: list[Problem]
) -> dict[str, Step]:
    """The steps with those that their job files and commands name as well.

    Each that is named must be there.
    """
    known = {}
    for name, step in steps.items():
        own = [text for text in step.job.after if text.removesuffix(_ANY) in steps]
        runs = [text for text in step.job.after if text not in own]
        after = list(dict.fromkeys([*step.after, *own]))
        for text in steps_in(step.job.hpcdl):
            if text not in after and f"{text}{_ANY}" not in after:
                after.append(text)
        known[name] = replace(step, after=after, job=replace(step.job, after=runs))
        for text in known[name].before:
            if text not in steps or text == name:
                message = f"there is no other step {show(text)}{did_you_mean(text, steps)}"
                problems.append(Problem(sections[name].where, f"steps.{name}.after", message))
    return known


def _in_order(file: str, steps: list[Step]) -> list[Step]:
    """The steps, each after those that come before it; else as they stand in the file.

    Raises:
        JobError: some wait for each other.
    """
    ordered: list[Step] = []
    waiting = steps
    while waiting:
        done = {step.name for step in ordered}
        ready = [step for step in waiting if done.issuperset(step.before)]
        if not ready:
            names = ", ".join(step.name for step in waiting)
            message = f"these wait for each other: {names}; take one after away"
            raise JobError(file, [Problem(file, "steps", message)])
        ordered.append(ready[0])
        waiting = [step for step in waiting if step is not ready[0]]
    return ordered
