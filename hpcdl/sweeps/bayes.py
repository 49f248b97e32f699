"""Suggestions by Optuna's TPE sampler, in memory: nothing is written or sent."""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hpcdl.errors import UserError
from hpcdl.extras import pip_install
from hpcdl.sweeps.space import Dimension, FloatRange, IntRange, Listed, Space

if TYPE_CHECKING:
    from hpcdl.sweeps.suggest import KnownTrial

OLDEST = (3, 6)


def load_optuna() -> Any:
    """Optuna, imported now: it costs 0.2 s and opens 460 files.

    Raises:
        UserError: it is missing or too old; what to install where.
    """
    try:
        optuna = importlib.import_module("optuna")
    except ImportError as error:
        raise UserError(_refusal(f"it cannot be imported ({error})")) from error
    version = str(getattr(optuna, "__version__", ""))
    if _release(version) < OLDEST:
        raise UserError(_refusal(f"it is version {version or 'unknown'}"))
    return optuna


def bayes_point(space: Space, seed: int, known: Sequence[KnownTrial]) -> dict[str, Any]:
    """The point that TPE suggests after the known trials.

    Args:
        space: what is searched.
        seed: for this suggestion alone.
        known: other trials by number; those without a score run now, and keep others away.

    Raises:
        UserError: Optuna is missing or too old.
    """
    optuna = load_optuna()
    names = space.names
    distributions = {name: _distribution(optuna, space.dimensions[name]) for name in names}
    verbosity = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant_liar and multivariate are called experimental
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            sampler = optuna.samplers.TPESampler(
                seed=seed, multivariate=True, constant_liar=True, n_startup_trials=0
            )
            study = optuna.create_study(direction="maximize", sampler=sampler)
            for trial in known:
                if space.contains(trial.parameters):
                    study.add_trial(_frozen(optuna, space, trial, distributions))
            answer = study.ask(distributions).params
        finally:
            optuna.logging.set_verbosity(verbosity)
    return {name: _value_of(space.dimensions[name], answer[name]) for name in names}


def _frozen(optuna: Any, space: Space, trial: KnownTrial, distributions: dict[str, Any]) -> Any:
    """A known trial as Optuna keeps one."""
    parameters = {}
    for name, value in trial.parameters.items():
        dimension = space.dimensions[name]
        # Optuna takes no lists as values, and holds 1 and true for equal: it gets the place
        parameters[name] = dimension.index(value) if isinstance(dimension, Listed) else value
    states = optuna.trial.TrialState
    return optuna.trial.create_trial(
        state=states.RUNNING if trial.score is None else states.COMPLETE,
        params=parameters,
        distributions=distributions,
        value=trial.score,
    )


def _distribution(optuna: Any, dimension: Dimension) -> Any:
    if isinstance(dimension, Listed):
        places = range(len(dimension.values))
        return optuna.distributions.CategoricalDistribution(list(places))
    if isinstance(dimension, IntRange):
        kind = optuna.distributions.IntDistribution
    else:
        kind = optuna.distributions.FloatDistribution
    return kind(dimension.low, dimension.high, log=dimension.log)


def _value_of(dimension: Dimension, answer: Any) -> Any:
    """The value that an answer of Optuna's stands for."""
    if isinstance(dimension, Listed):
        return dimension.values[answer]
    if isinstance(dimension, FloatRange):
        return min(max(float(answer), dimension.low), dimension.high)
    return int(answer)


def _release(version: str) -> tuple[int, ...]:
    """The first two numbers of a version; (0, 0) if it has none."""
    match = re.match(r"([0-9]{1,9})\.([0-9]{1,9})", version)
    if match is None:
        return (0, 0)
    return (int(match[1]), int(match[2]))


def _refusal(reason: str) -> str:
    oldest = ".".join(map(str, OLDEST))
    return (
        f"method bayes needs Optuna {oldest} or newer in the Python that runs the trials"
        f" ({sys.executable}): {reason}; install it with {pip_install(f'optuna>={oldest}')},"
        " or choose --method random"
    )
