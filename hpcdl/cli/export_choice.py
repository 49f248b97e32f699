"""Which models `hpcdl export` is about: a run's, or the mean of several; and where they go."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.cli import options
from hpcdl.errors import JobError, Problem, UserError

if TYPE_CHECKING:
    from hpcdl.run import Run


@dataclass(frozen=True)
class Choice:
    """What is exported.

    Args:
        home: the run in whose folder and image it is exported, and whose test images count.
        runs: whose models are meant, always in the same order; of several, their mean.
        mean: the name of the folder in the home's folder of exports; empty for one run.
    """

    home: Run
    runs: tuple[Run, ...]
    mean: str = ""

    @property
    def folder(self) -> Path:
        """Where it goes."""
        paths = self.home.paths
        return paths.export_of_mean(self.mean) if self.mean else paths.export


def choose(names: Sequence[str], places: options.Places) -> Choice:
    """What the arguments RUN mean.

    A mean is at home in the folder of the first run; but one that was exported with the runs in
    another order stays where it is.

    Raises:
        UserError: a run is named twice.
    """
    runs = options.choose(names, places)
    if len(runs) == 1 and len(names) == 1:
        return Choice(runs[0], (runs[0],))
    _require_each_once(names, runs, places)
    if len(runs) == 1:
        return Choice(runs[0], (runs[0],))
    in_order = tuple(sorted(runs, key=lambda run: (run.name, str(run.paths.root))))
    mean = _name_of_mean(in_order)
    for run in runs:
        if run.paths.export_of_mean(mean).is_dir():
            return Choice(run, in_order, mean)
    return Choice(runs[0], in_order, mean)


def _require_each_once(names: Sequence[str], runs: Sequence[Run], places: options.Places) -> None:
    """Raise a `UserError` if two arguments, or two runs, are the same folder."""
    from hpcdl.cli.choice import is_pattern

    by_folder: dict[Path, str] = {}
    for name in names:
        if is_pattern(name):
            continue
        run = options.find(name, places)
        folder = run.paths.root.resolve()
        if folder in by_folder:
            raise UserError(
                f"{by_folder[folder]} and {name} are the same run, {run.paths.root}; expected "
                "different ones: a run counts once in a mean, so name it once"
            )
        by_folder[folder] = name
    if len({run.paths.root.resolve() for run in runs}) < len(runs):
        raise UserError("two of these runs are the same folder under two names; name it once")


def _name_of_mean(runs: Sequence[Run]) -> str:
    """The folder of a mean: the same for the same runs, also when the runs' root is moved."""
    text = "\n".join(run.name for run in runs)
    return f"mean-of-{len(runs)}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def require_models(choice: Choice) -> None:
    """Raise a `JobError` with all reasons why these runs' models cannot be exported together."""
    from hpcdl.run.trained import require_alike, trained

    problems: list[Problem] = []
    models = []
    for run in choice.runs:
        model = trained(run, problems)
        if model is not None:
            models.append(model)
    remedy = "export each run alone"
    require_alike(models, problems, remedy)
    if not problems and choice.mean:
        problems += _different_tests(choice, remedy)
    if problems:
        raise JobError("hpcdl export", problems)


def _different_tests(choice: Choice, remedy: str) -> list[Problem]:
    """Why the runs were not tested on the same images: nobody could say how good their mean is."""
    from hpcdl.report import facts
    from hpcdl.report.comparable import why_not

    problems = []
    home = facts.read(choice.home)
    for run in choice.runs:
        reason = why_not("test", [home, facts.read(run)])
        if reason:
            message = (
                f"was not tested as {choice.home.name}: {reason}; expected the same test images,"
                f" on which their mean is measured; train them on the same data, or {remedy}"
            )
            problems.append(Problem(run.name, "", message))
    return problems
