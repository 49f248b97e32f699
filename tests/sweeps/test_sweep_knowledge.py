"""What a suggestion knows: ended trials with their scores, running ones without, by number."""

from __future__ import annotations

import pytest

from hpcdl.files import read_json
from hpcdl.sweeps.claims import Claims, Proposal
from hpcdl.sweeps.events import Claimed, Ended
from hpcdl.sweeps.knowledge import knew_of, known_trials
from hpcdl.sweeps.space import parse_space
from hpcdl.sweeps.state import SweepState
from hpcdl.sweeps.suggest import KnownTrial, suggest
from tests.sweeps.conftest import next_trial, train, work

SPACE = parse_space({"model.dropout": "0..0.6"})


def state_of(*trials: tuple[int, str, float | None]) -> SweepState:
    state = SweepState()
    for number, how, value in trials:
        params = {"model.dropout": number / 10}
        state.add(Claimed(number, params, "9_0", 1, 1.0))
        if how != "running":
            end = Ended(number, how, value, 1, 1, 1.0, params, "9_0", 1, 2.0)  # type: ignore[arg-type]
            state.add(end)
    return state


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1), ("minimize", -1)])
def test_known_trials(direction, sign):
    state = state_of(
        (4, "running", None), (1, "pruned", 0.25), (0, "done", 0.5), (2, "failed", None)
    )

    known = known_trials(state, direction)

    assert known == [
        KnownTrial(0, {"model.dropout": 0.0}, 0.5 * sign),
        KnownTrial(1, {"model.dropout": 0.1}, 0.25 * sign),
        KnownTrial(4, {"model.dropout": 0.4}),
    ]
    assert knew_of(known) == {"ended": "0-1", "running": "4"}


def test_nothing_is_known():
    assert known_trials(SweepState(), "maximize") == []
    assert knew_of([]) == {"ended": "", "running": ""}


def test_suggestion_can_be_made_again_from_the_folder(paths):
    """trial.json says what was known; with that the same parameters come out."""

    def propose(number: int, state: SweepState) -> Proposal:
        known = known_trials(state, "maximize")
        params = suggest(SPACE, "random", 7, number, known)
        return Proposal(params, knew_of(known), "random")

    work(paths, "9_0", 2)
    claims = Claims(paths, "9_1", 5, propose)
    trial = next_trial(claims)
    train(paths, claims, trial)

    on_disk = read_json(paths.trial_file(2)) or {}

    assert on_disk["knew"] == {"ended": "0-1", "running": ""}
    assert on_disk["sampler"] == "random"
    assert on_disk["params"] == trial.params == suggest(SPACE, "random", 7, 2)
