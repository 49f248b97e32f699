"""`model: {start: RUN}` and `train.distill.teacher`: found, refused and bound before the queue."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hpcdl
from hpcdl.contract.spec import DataSpec, DeviceSpec, FunctionSpec, MlpSpec, RunSpec, TrainSpec
from hpcdl.errors import JobError
from hpcdl.job.text import job_text
from hpcdl.mounts.needed import training_paths
from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.other_runs import other_runs
from hpcdl.submission.prepare import prepare
from hpcdl.sweeps.trial_spec import trial_spec

DONE: dict[str, Any] = {
    "state": "done",
    "model": {
        "name": "mlp",
        "parameters": 1,
        "trainable_parameters": 1,
        "file": "model/model.keras",
        "input": {"shape": [6, 6, 1], "range": [0, 255]},
        "output": "softmax",
        "needs": [],
    },
    "data": {"classes": 3, "class_names": None},
    "versions": {"hpcdl": "0.1.0", "keras": "3.15.1"},
}
TEACHER = RunSpec(
    "t", DataSpec(path="x"), MlpSpec(dense=[7]), TrainSpec(label_smoothing=0.1), DeviceSpec(), "0"
)


@pytest.fixture
def root(tmp_path):
    """A folder of runs, next to a data set of 3 classes."""
    images, labels = np.zeros((6, 6, 6), np.uint8), np.arange(6) % 3
    arrays: dict[str, Any] = {
        "x_train": images + 200,
        "y_train": labels,
        "x_test": images,
        "y_test": labels,
    }
    np.savez(tmp_path / "data.npz", **arrays)
    return tmp_path / "runs"


@pytest.fixture
def make_run(root):
    def make(name, result=DONE, spec=TEACHER):
        folder = root / name / f"20260101-0000-{name[:4]}"
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "model.keras").write_text(name)
        (folder / "manifest.json").write_text("{}")
        (folder / "run.json").write_text(spec.to_json())
        if result is not None:
            (folder / "result.json").write_text(json.dumps(result))
        return folder

    return make


@pytest.fixture
def submission_of(root):
    """Prepares a local submission of a job with these sections."""

    def of(model, train="{}", path="data.npz"):
        file = root.parent / "job.yaml"
        data = f"data: {{path: {path}}}\nresources: {{gpus: 0}}"
        file.write_text(f"name: a\n{data}\nmodel: {model}\ntrain: {train}\n")
        job = hpcdl.load_job(str(file))
        return prepare(job, hpcdl.load_cluster("local"), "local", str(root))

    return of


def problems_of(submission_of, *sections):
    with pytest.raises(JobError) as caught:
        submission_of(*sections)
    return {(problem.key, problem.message) for problem in caught.value.problems}


def findings(submission):
    subject = Subject(submission, hpcdl.load_cluster("local"))
    return [each for each in other_runs(subject) if isinstance(each, Finding)]


def test_start_takes_the_model_of_the_run(make_run, submission_of):
    folder = make_run("first")
    submission = submission_of("{start: first}")
    spec = submission.spec
    assert spec.model == MlpSpec(dense=[7])
    assert spec.start.model == str(folder / "model" / "model.keras")
    assert len(spec.start.sha256) == 64
    assert RunSpec.from_json(spec.to_json()) == spec
    assert findings(submission) == []
    assert ("model.start", str(folder)) in list(training_paths(json.loads(spec.to_json())))

    again = submission_of("{start: first, name: mlp, dense: [7]}")  # the same, written out
    assert again.spec.model == spec.model
    text = job_text(submission.job)
    trial = trial_spec(spec, text, {"train.epochs": 2}, "")
    assert (trial.model, trial.start, trial.train.epochs) == (spec.model, spec.start, 2)


def test_teachers_become_files(make_run, submission_of):
    folders = [make_run("one"), make_run("two")]
    submission = submission_of("{name: mlp}", "{distill: {teacher: [one, two], alpha: 0.5}}")
    distill = submission.spec.train.distill
    assert distill.teacher == [str(folder / "model" / "model.keras") for folder in folders]
    assert len(set(distill.sha256)) == 2
    warnings = findings(submission)
    assert ["label_smoothing 0.1" in warning.cause for warning in warnings] == [True, True]
    assert not any(warning.blocks for warning in warnings)

    text = job_text(submission.job)
    trial = trial_spec(submission.spec, text, {"train.distill.alpha": 0.25}, "")
    assert trial.train.distill is not None
    assert (trial.train.distill.sha256, trial.train.distill.alpha) == (distill.sha256, 0.25)
    alone = submission_of("{name: mlp}", "{distill: {teacher: one}}").spec.train.distill
    assert alone.teacher == distill.teacher[:1]


def test_runs_that_cannot_be_used(make_run, submission_of):
    """All are named at once, each with its reason."""
    make_run("queued", None)
    model = {**DONE["model"], "needs": ["layers.py"]}
    make_run("owncode", {**DONE, "model": model})
    assert problems_of(
        submission_of, "{start: queued}", "{distill: {teacher: [owncode, nowhere]}}"
    ) == {
        (
            "model.start",
            "queued/20260101-0000-queu is created; expected a run that is done: wait for it "
            "(hpcdl wait queued/20260101-0000-queu), or name another one",
        ),
        (
            "train.distill.teacher",
            "the model of owncode needs code of its own (layers.py); "
            "expected a model of Keras's own layers",
        ),
        (
            "train.distill.teacher",
            next(text for key, text in problems_of(submission_of, "{start: nowhere}")),
        ),
    }


@pytest.mark.parametrize("lacking", ["input", "output", "data"])
def test_runs_that_do_not_say_what_they_take(make_run, submission_of, lacking):
    older = {**DONE, "model": {**DONE["model"]}}
    del (older if lacking == "data" else older["model"])[lacking]
    make_run("older", older)
    ((_, message),) = problems_of(submission_of, "{start: older}")
    assert "by an older hpcdl, which did not note what its model takes: train it" in message


def test_problems_have_their_line(make_run, submission_of):
    make_run("queued", None)
    with pytest.raises(
        JobError, match=r"job\.yaml:5: train\.distill\.teacher: queued/.* is created"
    ):
        submission_of("{name: mlp}", "{distill: {teacher: queued}}")
    with pytest.raises(JobError, match=r"job\.yaml:5: train\.prune\.sparsity: .* < 1; got 1"):
        submission_of("{name: mlp}", "{prune: {sparsity: 1}}")
    with pytest.raises(JobError, match=r"job\.yaml:5: train\.adversarial\.epsilon: .* at most 1"):
        submission_of("{name: mlp}", "{adversarial: {epsilon: 8}}")


def test_other_model_than_the_start_has(make_run, submission_of):
    make_run("first")
    ((key, message),) = problems_of(submission_of, "{start: first, name: mlp, dense: [9]}")
    assert key == "model.dense"
    assert message == "is [9], but [7] in first: leave it out, start takes it from there"
    make_run("third", DONE, RunSpec("t", DataSpec(path="x"), FunctionSpec("a:b"), TrainSpec(), DeviceSpec(), "0"))  # fmt: skip
    assert submission_of("{start: third}").spec.model == FunctionSpec("a:b")


def test_check_sees_what_does_not_fit(make_run, submission_of):
    other = {
        **DONE,
        "model": {**DONE["model"], "input": {"shape": [8, 8, 3], "range": [0, 255]}},
        "data": {"classes": 10},
        "versions": {"hpcdl": "99.0.0"},
    }
    make_run("other", other)
    texts = [
        finding.cause.partition(": ")[2] for finding in findings(submission_of("{start: other}"))
    ]
    assert texts == [
        "its model takes images of 8x8x3; those of this run are 6x6x1",
        "its model tells 10 classes apart; the data set has 3",
        f"hpcdl 99.0.0 wrote it, and this is {hpcdl.__version__}",
    ]


def test_check_lists_the_class_folders(root, make_run, submission_of):
    """The classes of images in files are the names of their folders."""
    for name in ("cat", "dog", "owl"):
        (root.parent / "images" / name).mkdir(parents=True)
        for number in range(5):
            file = root.parent / "images" / name / f"{number}.png"
            Image.fromarray(np.full((6, 6, 3), 50 * number, np.uint8)).save(file)
    colour = {**DONE["model"], "input": {"shape": [6, 6, 3], "range": [0, 255]}}
    done = {**DONE, "model": colour, "versions": {}}
    make_run("pets", {**done, "data": {"classes": 3, "class_names": ["cat", "dog", "owl"]}})
    make_run("birds", {**done, "data": {"classes": 3, "class_names": ["cat", "jay", "owl"]}})
    make_run("two", {**done, "data": {"classes": 2, "class_names": ["cat", "dog"]}})
    make_run("grey", {**DONE, "versions": {}})
    teachers = "{distill: {teacher: [pets, birds, two, grey]}}"
    submission = submission_of("{name: mlp}", teachers, "images/")
    causes = {}
    for finding in findings(submission):
        if finding.blocks:
            folder, _, cause = finding.cause.partition(": ")
            causes[folder.split("/")[-2]] = cause
    assert causes == {
        "birds": "class 1 of its model is jay; that of the data set is dog",
        "two": "its model tells 2 classes apart; the data set has 3",
        "grey": "its model takes images of 6x6x1; those of this run are 6x6x3",
    }
