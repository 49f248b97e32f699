"""What is refused of a sweep before anything is made: the space, its values, the metric, the budget."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hpcdl.errors import JobError, UserError
from hpcdl.job import load_job
from hpcdl.sweeps.checks import check_sweep
from hpcdl.sweeps.host_optuna import require_optuna
from hpcdl.sweeps.trial_job import TrialJobs

MODEL = """\
name: a
resources: {gpus: 0}
data: {name: digits, validation_split: 0.2}
model: {name: cnn, filters: [8, 16]}
train: {epochs: 9}
sweep:
"""
SCRIPT = """\
name: a
resources: {gpus: 0}
script: a.py
args: [--epochs, "3"]
sweep:
"""


@pytest.fixture
def job_with(tmp_path):
    """A job whose file ends with these lines of its section sweep."""

    def load(*lines, start=MODEL, sets=()):
        (tmp_path / "a.py").write_text("print(1)\n")
        text = start + "".join(f"  {line}\n" for line in lines)
        (tmp_path / "job.yaml").write_text(text)
        return load_job(tmp_path / "job.yaml", sets)

    return load


def problems_of(job):
    with pytest.raises(JobError) as caught:
        check_sweep(job)
    return [
        (problem.where.rpartition(":")[2], problem.key, problem.message)
        for problem in caught.value.problems
    ]


def test_open_settings_are_filled_in(job_with):
    chosen = check_sweep(
        job_with("over: {train.batch_size: 16|32, model.dropout: [0, 0.5]}", "method: grid")
    )

    assert (chosen.trials, chosen.metric, chosen.direction) == (4, "val_accuracy", "maximize")
    assert (chosen.epochs, chosen.space.names) == (9, ["model.dropout", "train.batch_size"])


def test_direction_comes_from_name(job_with):
    lines = ("over: {model.dropout: 0..0.5}", "trials: 3")

    assert check_sweep(job_with(*lines, "metric: val_loss")).direction == "minimize"
    assert (
        check_sweep(job_with(*lines, "metric: val_loss", "direction: maximize")).direction
        == "maximize"
    )


# Lines of the section, and the problems in order: (line, key, part of the message)
REFUSED = {
    "no-space": (
        ["method: random", "trials: 3"],
        [("7", "sweep.over", "the space is empty")],
    ),
    "all-at-once": (
        ["over:", "  resources.gpus: 1|2", "  model.dropout: 0.5..0.1", "metric: test_accuracy"],
        [
            ("8", "sweep.over.resources.gpus", "all trials of a sweep have the same resources"),
            ("9", "sweep.over.model.dropout", "begins above its end"),
            ("10", "sweep.metric", "'test_accuracy' is of the test set"),
        ],
    ),
    "argument-of-model": (
        ["over: {args.rate: 1|2}", "trials: 2"],
        [("7", "sweep.over.args.rate", "is an argument of a script")],
    ),
    "unknown-key": (
        ["over: {model.dropuot: 0..0.5}", "trials: 2"],
        [
            ("7", "sweep.over.model.dropuot", "0.0 is refused: unknown key; did you mean dropout?"),
            ("7", "sweep.over.model.dropuot", "0.5 is refused"),
        ],
    ),
    "an-end": (
        ["over: {model.dropout: 0..1}", "trials: 2"],
        [("7", "sweep.over.model.dropout", "1.0 is refused: expected a number >= 0 and < 1")],
    ),
    "a-listed-value": (
        ["over: {train.optimizer.name: [adam, adm, sgd]}", "trials: 2"],
        [("7", "sweep.over.train.optimizer.name", "'adm' is refused: expected one of sgd")],
    ),
    "whole-numbers": (
        ["over: {train.batch_size: 16..64}", "trials: 2"],
        [
            ("7", "sweep.over.train.batch_size", "got 16.0; write int:16..64"),
            ("7", "sweep.over.train.batch_size", "got 64.0"),
        ],
    ),
    "values-together": (
        ["over: {model.kernel_size: [[3, 3], [3]], model.filters: [[8], [8, 8]]}", "method: grid"],
        [
            ("7", "sweep.over", "trial 0 (model.filters [8], model.kernel_size [3, 3]): model.kernel_size"),
            ("7", "sweep.over", "trial 3"),
        ],
    ),
    "needs-files": (
        ["over: {data.name: [digits, mnist]}", "trials: 2"],
        [("7", "sweep.over.data.name", "its files are made ready once")],
    ),
    "unknown-metric": (
        ["over: {model.dropout: 0..0.5}", "trials: 2", "metric: val_acuracy"],
        [("9", "sweep.metric", "expected one of loss, accuracy, val_loss, val_accuracy")],
    ),
    "no-trials": (["over: {model.dropout: 0..0.5}"], [("7", "sweep.trials", "--trials N")]),
    "too-many-trials": (
        ["over: {model.dropout: 0|0.5}", "trials: 3"],
        [("8", "sweep.trials", "the space has 2 combinations")],
    ),
    "grid-of-range": (
        ["over: {model.dropout: 0..0.5}", "method: grid"],
        [("7", "sweep.over.model.dropout", "list them, such as")],
    ),
    "part-of-grid": (
        ["over: {model.dropout: 0|0.5}", "method: grid", "trials: 1"],
        [("9", "sweep.trials", "expected 2, or nothing; got 1")],
    ),
    "no-early-rung": (
        ["over: {model.dropout: 0..0.5}", "method: asha", "trials: 4", "first: 9"],
        [("10", "sweep.first", "fewer than their 9 epochs; got 9")],
    ),
    "epochs-of-asha": (
        ["over: {train.epochs: int:2..9}", "method: hyperband", "trials: 4"],
        [("7", "sweep.over.train.epochs", "chooses epochs itself")],
    ),
    "no-gpu": (
        ["over: {model.dropout: 0..0.5}", "trials: 4", "gpu_hours: 3", "trials_per_gpu: 2"],
        [
            ("9", "sweep.gpu_hours", "resources.gpus is 0"),
            ("10", "sweep.trials_per_gpu", "expected 1 with resources.gpus 0; got 2"),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "expected"), REFUSED.values(), ids=REFUSED)
def test_refused_with_line_and_key(job_with, lines, expected):
    found = problems_of(job_with(*lines))

    assert [row[:2] for row in found] == [row[:2] for row in expected]
    for row, expected_row in zip(found, expected, strict=True):
        assert expected_row[2] in row[2]


def test_metric_without_validation_rows(job_with):
    job = job_with("over: {model.dropout: 0..0.5}", "trials: 2", sets=["data.validation_split=0"])

    ((line, key, message),) = problems_of(job)
    assert (line, key) == ("7", "sweep.metric")
    assert "data.validation_split > 0; got 'val_accuracy', the default" in message


def test_searched_split_gives_validation_rows(job_with):
    lines = ("over: {data.validation_split: [0.1, 0.2]}", "trials: 2")

    assert check_sweep(job_with(*lines, sets=["data.validation_split=0"])).trials == 2


def test_value_that_fits_others_only(job_with):
    """Momentum is not for the job's own adam, but for every trial's sgd."""
    over = "over: {train.optimizer.name: [sgd, rmsprop], train.optimizer.momentum: 0|0.9}"

    assert check_sweep(job_with(over, "method: grid")).trials == 4


def test_folds_are_not_pruned(job_with):
    sets = ["data.validation_split=0", "train.cross_validation=3"]
    lines = ("over: {model.dropout: 0..0.5}", "trials: 2")

    assert check_sweep(job_with(*lines, sets=sets)).metric == "val_accuracy"
    assert (
        "before all folds have ended"
        in problems_of(job_with(*lines, "method: asha", sets=sets))[0][2]
    )


def test_script_searches_its_arguments(job_with):
    job = job_with(
        "over: {args.rate: 'log:1e-3..1'}", "trials: 2", "metric: val_loss", start=SCRIPT
    )

    assert check_sweep(job).epochs == 3
    trial_job = TrialJobs(job).job_of({"args.rate": 0.5, "args.epochs": 7})
    assert trial_job.args == ["--epochs", "7", "--rate", "0.5"]
    assert trial_job.sweep is None


def test_script_says_what_is_better(job_with):
    lines = ("over: {args.rate: 0.1..1}", "trials: 4", "metric: score")

    ((_, key, message),) = problems_of(job_with(*lines, start=SCRIPT))
    assert key == "sweep.direction"
    assert message.endswith("does not say which is better: --set sweep.direction=maximize")


def test_script_is_pruned_by_its_epochs(job_with):
    lines = ("over: {args.rate: 0.1..1}", "trials: 4", "metric: val_loss", "method: asha")

    assert check_sweep(job_with(*lines, start=SCRIPT)).epochs == 3
    ((_, key, message),) = problems_of(job_with(*lines, start=SCRIPT, sets=["args=[]"]))
    assert key == "sweep.method"
    assert message.startswith("asha compares trials at epochs: give --epochs N to the script")


def test_script_must_name_metric(job_with):
    lines = ("over: {model.dropout: 0..0.5}", "method: asha")
    found = problems_of(job_with(*lines, start=SCRIPT, sets=["args=[]"]))

    assert [row[1] for row in found] == ["sweep.over.model.dropout", "sweep.metric", "sweep.method"]
    assert "HPCDL_METRICS_FILE" in found[1][2]


def test_sweep_does_not_wait_for_runs(job_with):
    lines = ("over: {model.dropout: 0..0.5}", "trials: 2")

    ((_, key, message),) = problems_of(job_with(*lines, sets=["after=[k3f9]"]))
    assert (key, message.partition(";")[0]) == ("after", "a sweep cannot wait for runs")


def test_many_problems_are_cut(job_with):
    values = [n + 2 for n in range(300)]

    found = problems_of(job_with(f"over: {{model.dropout: {values}}}", "method: grid"))

    assert len(found) == 11
    assert found[-1][2] == "290 more such problems"


def test_space_is_set_by_option(job_with):
    sets = [
        "sweep.over.model.filters=[8, 8]|[16]",
        "sweep.over.train.batch_size=int:8..64",
        "sweep.trials=5",
    ]

    chosen = check_sweep(job_with("method: random", sets=sets))

    assert chosen.space.notation() == {
        "model.filters": [[8, 8], [16]],
        "train.batch_size": "int:8..64",
    }


def test_job_alone_is_not_a_sweep(job_with):
    found = problems_of(replace(job_with("method: grid"), sweep=None))

    assert [row[1] for row in found] == [
        "sweep.over",
    ]


def test_optuna_of_other_python(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\necho 2.10.1\n")
    old.chmod(0o755)

    require_optuna(sys.executable)
    require_optuna(None)
    with pytest.raises(UserError, match=f"{old} has Optuna 2.10.1; install it with {old} -m pip"):
        require_optuna(str(old))
    with pytest.raises(UserError, match="true has none"):
        require_optuna("/bin/true")
