"""The program that takes more memory than its job may have: how far it goes."""

from __future__ import annotations

import json

import pytest

from hpcdl.promises.programs import hold_memory

STEP = 50 << 20


@pytest.mark.parametrize(
    ("asked", "limit", "steps"),
    [
        (STEP, None, 2),
        (0, STEP, 2),
        (STEP, 2 * STEP, 3),
        (2 * STEP, STEP, 3),
        (STEP, 7 << 30, None),
        (0, None, None),
    ],
    ids=["asked", "limit alone", "higher limit", "lower limit", "too much to fill", "nothing"],
)
def test_aim_is_above_the_limit(
    asked: int,
    limit: int | None,
    steps: int | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A site may give more than was asked for: only beyond its own limit it ends a job."""
    monkeypatch.setattr(hold_memory, "_FIRST_S", 0.0)
    monkeypatch.setattr(hold_memory, "_HOLDS_S", 0.0)
    monkeypatch.setattr(hold_memory, "limit_of_job", lambda: limit)
    hold_memory.main(asked)

    lines = [json.loads(line.partition(" ")[2]) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"limit": limit, "asked": asked}
    assert [line["held"] for line in lines[1:]] == ([] if steps is None else [steps * STEP])
