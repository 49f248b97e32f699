"""Sections are found by their annotations: files of older runs, and one more section."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hpcdl
from hpcdl.contract.settings import add_later_settings, drop_later_settings
from hpcdl.contract.spec import (
    BackboneSpec,
    CnnSpec,
    DataSpec,
    DeviceSpec,
    FunctionSpec,
    MlpSpec,
    OptimizerSpec,
    ResnetSpec,
    RunSpec,
    ScheduleSpec,
    SpecError,
    TestSpec,
    TrainSpec,
)

# What the first run.json had
FIRST_RUN = {
    "name": "first",
    "data": {"name": "digits", "path": "/data/digits.npz", "validation_split": 0.0},
    "model": {
        "name": "mlp",
        "dense": [500, 500, 500],
        "activation": "relu",
        "batch_norm": False,
        "dropout": 0.0,
        "output": "softmax",
    },
    "train": {
        "epochs": 5,
        "batch_size": 100,
        "optimizer": {
            "name": "adam",
            "learning_rate": None,
            "momentum": None,
            "nesterov": None,
        },
        "seed": 1,
    },
    "devices": {"gpus": 0, "emulate": False},
    "hpcdl_version": "0.1.0",
    "schema_version": 1,
}
RUN = RunSpec(
    "first",
    DataSpec(name="digits", path="/data/digits.npz"),
    MlpSpec(),
    TrainSpec(),
    DeviceSpec(),
    "0.1.0",
    test=TestSpec(explain="none"),
)
MODELS = [
    CnnSpec(kernel_size=[3, 5]),
    ResnetSpec(l1=0.1),
    BackboneSpec("VGG16"),
    FunctionSpec("my:build", {"width": 8}),
]


def with_model(model: object) -> RunSpec:
    train = TrainSpec(optimizer=OptimizerSpec("sgd"), schedule=ScheduleSpec("cosine"))
    return RunSpec("a", DataSpec(path="a.npz"), model, train, DeviceSpec(), "0")  # type: ignore[arg-type]


def test_first_run_is_read_with_defaults():
    assert RunSpec.from_json(json.dumps(FIRST_RUN)) == RUN


def test_older_resnet_keeps_its_initializer():
    raw = json.loads(with_model(ResnetSpec()).to_json())
    del raw["model"]["initializer"]

    run = RunSpec.from_json(json.dumps(raw))

    assert run.model == ResnetSpec(initializer="glorot_uniform")
    assert ResnetSpec().initializer == "he_normal"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_run_json_is_read_unchanged(model):
    run = with_model(model)

    assert RunSpec.from_json(run.to_json()) == run


def test_later_settings_come_and_go():
    raw = json.loads(json.dumps(FIRST_RUN))

    add_later_settings(RunSpec, raw)
    assert raw["train"]["jit"] == "auto"
    assert raw["data"]["args"] == {}
    drop_later_settings(RunSpec, raw)

    assert raw == FIRST_RUN


def test_later_setting_with_another_value_stays():
    raw = json.loads(with_model(MlpSpec(l2=0.5)).to_json())

    drop_later_settings(RunSpec, raw)

    assert raw["model"]["l2"] == 0.5
    assert "l1" not in raw["model"]
    assert raw["train"]["schedule"]["name"] == "cosine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw["train"].update(epoch=5), r"train: unknown keys \['epoch'\]"),
        (lambda raw: raw["train"].pop("epochs"), r"train: .* missing keys \['epochs'\]"),
        (lambda raw: raw.pop("model"), r"run.json: .* missing keys \['model'\]"),
        (lambda raw: raw.update(train=3), "train must be an object, not 3"),
        (lambda raw: raw["train"].update(optimizer=None), "train.optimizer must be an object"),
        (lambda raw: raw["train"].update(schedule="step"), "train.schedule must be an object"),
        (lambda raw: raw["model"].update(name="mpl"), "model.name is 'mpl'; expected one of cnn"),
        (lambda raw: raw["model"].pop("name"), "model.name is missing; expected one of cnn"),
    ],
)
def test_damaged_run_is_refused(change, message):
    raw = json.loads(json.dumps(FIRST_RUN))
    change(raw)

    with pytest.raises(SpecError, match=message):
        RunSpec.from_json(json.dumps(raw))


ONE_CLASS = '''@dataclass
class AveragingSpec:
    """Averages of the weights over the last epochs."""

    start_epoch: int = setting("the first epoch that counts", ge=1)
    metric: str = setting("a metric that must exist", "loss")

    def problem(
        self, validation_share: float, metrics: Optional[Sequence[str]]
    ) -> Optional[Tuple[str, str]]:
        """What is wrong beyond types and bounds."""
        if metrics is not None and self.metric not in metrics:
            return "metric", "one of " + ", ".join(metrics)
        return None


@dataclass
class TrainSpec:
'''
ONE_FIELD = """    averaging: Optional[AveragingSpec] = setting(
        "which weights are averaged; without it, none", None, since="9.0.0"
    )
"""
# What a user, the trainer and an older run see of the section. Runs in the changed package.
USE_OF_THE_SECTION = r"""
import json, pathlib, sys
from dataclasses import asdict
from hpcdl.contract.checks import check_spec
from hpcdl.contract.settings import drop_later_settings
from hpcdl.contract.spec import DeviceSpec, RunSpec, SpecError
from hpcdl.errors import JobError
from hpcdl.job import load_job
from hpcdl.job.reference import job_reference
from hpcdl.report.settings import settings

def job(text):
    pathlib.Path("job.yaml").write_text("name: a\ndata: {name: m}\nmodel: {name: mlp}\n" + text)
    return load_job("job.yaml")

def problems(text):
    try:
        job(text)
    except JobError as error:
        return [list(problem) for problem in error.problems]
    return []

def run(train):
    made = job("")
    made.data.path = "m.npz"
    return RunSpec("a", made.data, made.model, train, DeviceSpec(), "9.0.0")

with_section = run(job("train: {averaging: {start_epoch: 3}}").train)
without = run(job("").train or type(with_section.train)())
old = json.loads(without.to_json())
del old["train"]["averaging"]
wrong = run(job("train: {averaging: {start_epoch: 3}}").train)
wrong.train.averaging.start_epoch = 0
try:
    check_spec(wrong)
    refusal = ""
except SpecError as error:
    refusal = str(error)
plain = asdict(without)
drop_later_settings(RunSpec, plain)
json.dump({
    "start_epoch": with_section.train.averaging.start_epoch,
    "round_trip": RunSpec.from_json(with_section.to_json()) == with_section,
    "old_run": RunSpec.from_json(json.dumps(old)) == without,
    "same_fingerprint": "averaging" not in plain["train"],
    "compared": settings(old).get("train.averaging", "missing"),
    "bounds": problems("train: {averaging: {start_epoch: 0}}"),
    "rules": problems("train:\n  averaging: {start_epoch: 3, metric: auc}"),
    "unknown": problems("train: {averaging: {start_epoc: 3}}"),
    "trainer": refusal,
    "reference": job_reference(),
}, sys.stdout)
"""


@pytest.fixture
def one_more_section(tmp_path: Path) -> dict[str, Any]:
    """What a copy of hpcdl does with a section, with one class and one field put into it."""
    package = tmp_path / "hpcdl"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(hpcdl.__file__).parent, package, ignore=ignore)
    path = package / "contract/train_spec.py"
    text = path.read_text()
    assert text.count("@dataclass\nclass TrainSpec:\n") == 1
    text = text.replace("@dataclass\nclass TrainSpec:\n", ONE_CLASS)
    path.write_text(text + ONE_FIELD)  # TrainSpec is the last class of the file
    program = [sys.executable, "-c", USE_OF_THE_SECTION]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_new_section_needs_one_class(one_more_section):
    """One more section costs one class and one field."""
    answer = one_more_section

    assert answer["start_epoch"] == 3
    assert answer["round_trip"]
    assert answer["old_run"]
    assert answer["same_fingerprint"]
    assert answer["compared"] is None
    key = "train.averaging.start_epoch"
    assert answer["bounds"] == [["job.yaml:4", key, "expected a whole number >= 1; got 0"]]
    assert answer["rules"] == [
        ["job.yaml:5", "train.averaging.metric", "expected one of loss, accuracy; got 'auc'"]
    ]
    unknown, missing = answer["unknown"]
    assert unknown[2] == "unknown key; did you mean start_epoch?"
    assert missing[2] == "missing; expected the first epoch that counts"
    assert answer["trainer"] == f"{key} is 0; expected >= 1"
    reference = answer["reference"]
    assert "| `train.averaging` | a section, below |" in reference
    assert "## `train.averaging`\n\nAverages of the weights over the last epochs." in reference
    assert (
        f"| `{key}` | a whole number >= 1 | (needed) | the first epoch that counts |" in reference
    )
