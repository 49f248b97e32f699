"""``hpcdl result``: validation, the epoch that was tested, what the saved model takes, and what is doubtful."""

from __future__ import annotations

import json
from typing import Any

import pytest

RESULT: dict[str, Any] = {
    "state": "done",
    "model": {
        "name": "cnn", "parameters": 100, "trainable_parameters": 90, "file": "model/model.keras", "output": "softmax",
        "input": {"shape": [28, 28, 1], "dtype": "float32", "range": [0, 255]}, "needs": ["my.py"],
    },
    "test": {"loss": 0.3, "accuracy": 0.91, "rows": 50, "epoch": 25},
    "validation": {"loss": 0.25, "accuracy": 0.93, "rows": 40},
    "best": {"epoch": 24, "monitor": "val_loss", "value": 0.0158},
    "data": {
        "rows_train": 400, "rows_validation": 40, "rows_test": 50, "image_shape": [28, 28, 1], "classes": 10,
        "class_names": None,
    },
    "warnings": ["the images are scaled twice: …"],
}  # fmt: skip


@pytest.fixture
def shown(cli, tmp_path):
    """The lines of `hpcdl result` for a run with some result, by their first words."""

    def show(result):
        run = tmp_path / "runs" / "a" / "20260101-1200-aaaa"
        (run / "logs").mkdir(parents=True)
        events = [{"event": "start"}, {"event": "end", "reason": "done"}]
        texts = [
            json.dumps({"attempt": 1, "node": "n", "time": 2.0, **event}) + "\n" for event in events
        ]
        (run / "attempts.jsonl").write_text("".join(texts))
        (run / "manifest.json").write_text("{}")
        (run / "submitted.json").write_text('{"backend": "slurm", "job_id": "7", "time": 0}')
        (run / "result.json").write_text(json.dumps(result))
        answer = cli("result", str(run))
        assert answer.code == 0, answer.err
        lines = [line.strip().partition(" ") for line in answer.out.splitlines()]
        return {first: rest.strip() for first, _, rest in lines}

    return show


@pytest.mark.cases("F2", "F23", "C34")
def test_result_explains_the_model(shown):
    """Validation beside the test, the epoch of both, the model's input, and warnings."""
    lines = shown(RESULT)

    assert lines["validation"] == "accuracy 0.9300, loss 0.2500"
    assert lines["epoch"].startswith(
        "tested and saved: epoch 25, the last; best was epoch 24 (val_loss 0.0158)"
    )
    assert lines["saved"] == (
        "model/model.keras takes grey images of 28x28 with values from 0 to 255, "
        "gives a probability for each of 10 classes; needs my.py when it is loaded"
    )
    assert lines["warning"] == "the images are scaled twice: …"


def test_result_shows_attack(shown):
    attack = {
        "rows": 50,
        "accuracy": 0.91,
        "by_epsilon": [{"epsilon": 0.1, "fgsm": 0.5, "pgd": 0.25}],
    }

    lines = shown({**RESULT, "test": {**RESULT["test"], "attack": attack}})

    assert lines["attacked"] == (
        "epsilon 0.1: accuracy 0.5000 under FGSM, 0.2500 under PGD; 0.9100 without, on 50 images"
    )


@pytest.mark.cases("F23")
def test_result_of_older_run(shown):
    """Without the newer keys, what there is is shown as before."""
    model = {
        key: value
        for key, value in RESULT["model"].items()
        if key not in ("input", "needs", "output")
    }
    old = {**RESULT, "model": model, "test": {"accuracy": 0.91, "rows": 50}}
    del old["warnings"]

    lines = shown(old)

    assert lines["best"] == "epoch 24: val_loss 0.0158"
    assert not {"saved", "epoch", "warning"} & set(lines)
