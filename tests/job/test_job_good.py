"""Job files that load to what their users mean, YAML's surprises included."""

from __future__ import annotations

import pytest

import hpcdl
from hpcdl import shipped
from hpcdl.contract.spec import (
    CnnSpec,
    EarlyStoppingSpec,
    FunctionSpec,
    MlpSpec,
    OptimizerSpec,
    ResnetSpec,
    ScheduleSpec,
    TrainSpec,
)
from hpcdl.errors import Problem
from hpcdl.job import format_time, load_job, parse_time
from hpcdl.job.text import job_text
from hpcdl.yamlfile.reader import read_yaml

MODEL = "name: a\ndata: {name: mnist}\nmodel: {name: mlp}\n"
SCRIPT = "name: a\nscript: a.py\n"

GOOD = {
    "defaults": (
        MODEL,
        (),
        lambda job: (job.resources.gpus, job.container, job.train),
        (1, "tensorflow", TrainSpec()),
    ),
    "scientific-number": (
        MODEL + "train: {optimizer: {learning_rate: 1e-3}}\n",
        (),
        lambda job: job.train.optimizer.learning_rate,
        0.001,
    ),
    "number-without-zero": (
        "name: a\ndata: {name: m}\nmodel: {name: mlp, dropout: .5}\n",
        (),
        lambda job: job.model.dropout,
        0.5,
    ),
    "name-of-digits": ("name: 007\nscript: a.py\n", (), lambda job: job.name, "007"),
    "words-stay-text": (
        SCRIPT + "args: [12:30, on, no, 1e-3, null-ish, 2001-01-01, 0x10, =, true]\n",
        (),
        lambda job: job.args,
        ["12:30", "on", "no", "1e-3", "null-ish", "2001-01-01", "0x10", "=", "true"],
    ),
    "env-of-a-training": (
        MODEL + "env: {NCCL_DEBUG: INFO}\n",
        (),
        lambda job: job.env,
        {"NCCL_DEBUG": "INFO"},
    ),
    "schedule": (
        MODEL + "train: {schedule: {name: cosine, warmup_epochs: 1}, label_smoothing: 0.1}\n",
        (),
        lambda job: (job.train.schedule, job.train.label_smoothing),
        (ScheduleSpec("cosine", warmup_epochs=1), 0.1),
    ),
    "resnet": (
        "name: a\ndata: {name: m}\nmodel: {name: resnet, filters: [8], l2: 1e-4}\n",
        (),
        lambda job: job.model,
        ResnetSpec(filters=[8], l2=0.0001),
    ),
    "env-stays-text": (
        SCRIPT + "env: {A: 1e3, B: off, C: 00:15:00, d: '', E: 010}\n",
        (),
        lambda job: job.env,
        {"A": "1e3", "B": "off", "C": "00:15:00", "d": "", "E": "010"},
    ),
    "time-unquoted": (
        MODEL + "resources: {time: 1-02:00:00}\n",
        (),
        lambda job: job.resources.time_limit_s,
        93600,
    ),
    "whole-number-for-number": (
        MODEL + "resources: {memory_gb: 64}\n",
        (),
        lambda job: job.resources.memory_gb,
        64,
    ),
    "optimizer-by-name": (
        MODEL + "train: {optimizer: sgd}\n",
        (),
        lambda job: job.train.optimizer,
        OptimizerSpec("sgd"),
    ),
    "early-stopping": (
        "name: a\ndata: {name: m, validation_split: 0.1}\nmodel: {name: mlp}\ntrain: {early_stopping: {}}\n",
        (),
        lambda job: job.train.early_stopping,
        EarlyStoppingSpec("val_loss", 5, 0.0, True, "auto"),
    ),
    "early-stopping-by-own-metric": (
        "name: a\ndata: {name: m}\nmodel: {function: a:b}\ntrain: {early_stopping: {monitor: hinge, mode: min}}\n",
        (),
        lambda job: job.train.early_stopping,
        EarlyStoppingSpec("hinge", mode="min"),
    ),
    "kernel-per-filter": (
        "name: a\ndata: {name: m}\nmodel: {name: cnn, filters: [8, 16], kernel_size: [5, 3]}\n",
        (),
        lambda job: job.model,
        CnnSpec(filters=[8, 16], kernel_size=[5, 3]),
    ),
    "no-hidden-layer": (
        "name: a\ndata: {name: m}\nmodel: {name: mlp, dense: []}\n",
        (),
        lambda job: job.model,
        MlpSpec(dense=[]),
    ),
    "own-function": (
        "name: a\ndata: {name: m}\nmodel: {function: own.models:build, args: {deep: [1, {a: 1e-2}], b: on}}\n",
        (),
        lambda job: job.model,
        FunctionSpec("own.models:build", {"deep": [1, {"a": 0.01}], "b": "on"}),
    ),
    "alias": (
        "name: a\ndata: {name: m}\nmodel: {name: cnn, filters: &f [8], dense: *f}\n",
        (),
        lambda job: job.model.dense,
        [8],
    ),
    "quoted-and-folded": (
        SCRIPT + 'args:\n- "tab\\there"\n- >-\n  two\n  lines\n- |-\n  a\n  b\n',
        (),
        lambda job: job.args,
        ["tab\there", "two lines", "a\nb"],
    ),
    "byte-order-mark": ("\ufeff" + SCRIPT, (), lambda job: job.name, "a"),
    "windows-line-ends": (SCRIPT.replace("\n", "\r\n"), (), lambda job: job.name, "a"),
    "empty-section": (MODEL + "train: {}\n", (), lambda job: job.train, TrainSpec()),
    "slurm-options": (
        MODEL + "slurm: {constraint: h100, mail-type: 'END,FAIL', exclusive: ''}\n",
        (),
        lambda job: job.slurm,
        {"constraint": "h100", "mail-type": "END,FAIL", "exclusive": ""},
    ),
    "set-new-section": (
        MODEL,
        ("train.optimizer.name=sgd",),
        lambda job: job.train.optimizer.name,
        "sgd",
    ),
    "set-over-file": (
        MODEL + "train: {epochs: 3}\n",
        ("train.epochs=7",),
        lambda job: job.train.epochs,
        7,
    ),
    "set-twice-last-wins": (
        MODEL,
        ("train.epochs=7", "train.epochs=8"),
        lambda job: job.train.epochs,
        8,
    ),
    "set-list": (SCRIPT, ("args=[a, b c]",), lambda job: job.args, ["a", "b c"]),
    "set-equals-in-value": (SCRIPT, ("env.A=x=y",), lambda job: job.env, {"A": "x=y"}),
    "set-empty-text": (SCRIPT, ("env.A=",), lambda job: job.env, {"A": ""}),
    "set-path-for-name": (
        MODEL,
        ("data.path=./x.npz",),
        lambda job: (job.data.name, job.data.path[-6:]),
        (None, "/x.npz"),
    ),
    "set-name-for-path": (
        MODEL.replace("name: m}", "path: x.npz}", 1),
        ("data.name=digits",),
        lambda job: (job.data.name, job.data.path),
        ("digits", None),
    ),
    "set-path-for-function": (
        "name: a\ndata: {function: own:load, args: {n: 1}}\nmodel: {name: mlp}\n",
        ("data.name=digits",),
        lambda job: (job.data.name, job.data.function, job.data.args),
        ("digits", None, {}),
    ),
    "set-function-for-name": (
        MODEL,
        ("data.function=own:load", "data.args.n=2"),
        lambda job: (job.data.name, job.data.args),
        (None, {"n": 2}),
    ),
    "set-script-for-model": (
        MODEL,
        ("script=a.py",),
        lambda job: (job.model, job.data, job.train),
        (None, None, None),
    ),
    "set-model-for-script": (
        f"{SCRIPT}args: [b]\n",
        ("model.name=mlp", "data.name=digits"),
        lambda job: (job.script, job.args, job.data.name),
        (None, [], "digits"),
    ),
    "set-repairs-file": (
        MODEL + "train: {epochs: x}\n",
        ("train.epochs=2",),
        lambda job: job.train.epochs,
        2,
    ),
}


@pytest.mark.parametrize(("text", "sets", "what", "meant"), GOOD.values(), ids=GOOD)
def test_values_are_read_correctly(write_job, text, sets, what, meant):
    job = load_job(write_job(text, a__py="print(1)\n"), sets)

    assert what(job) == meant
    assert type(what(job)) is type(meant) or isinstance(meant, (int, float))


def test_paths_relative_to_file(tmp_path, monkeypatch):
    folder = tmp_path / "jobs"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.py").write_text("")
    (tmp_path / "beside.txt").write_text("")
    (folder / "job.yaml").write_text(
        "name: a\nscript: deep/a.py\nworkdir: ..\nfiles: [../beside.txt, deep]\ncontainer: tf.sif\n"
    )
    monkeypatch.chdir(tmp_path)

    job = load_job("jobs/job.yaml")

    assert job.script == str(folder / "deep" / "a.py")
    assert job.workdir == str(tmp_path)
    assert job.files == [str(tmp_path / "beside.txt"), str(folder / "deep")]
    assert job.container == str(folder / "tf.sif")
    assert job.source == "jobs/job.yaml"


def test_home_expanded(write_job, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")

    job = load_job(
        write_job("name: a\ndata: {path: ~/x.npz}\nmodel: {name: mlp}\ncontainer: ~/tf.sif\n")
    )

    assert job.data is not None
    assert (job.data.path, job.container) == ("/home/somebody/x.npz", "/home/somebody/tf.sif")


@pytest.mark.parametrize(
    "path", sorted(shipped.folder("jobs").glob("*.yaml")), ids=lambda path: path.stem
)
def test_shipped_job_loads(path):
    job = load_job(path.stem)

    assert job.source == f"jobs/{path.name}"
    assert "Figure:" in path.read_text(), "a shipped job says what to expect"


@pytest.mark.parametrize("name", ["mnist_cnn", "mnist_cnn_mirrored", "mnist_mlp", "digits_cnn"])
def test_resolved_job_loads_again(write_job, name):
    job = hpcdl.load_job(name, ["data.validation_split=0.1", "train.early_stopping.patience=2"])

    again = load_job(write_job(job_text(job)))

    assert (again.model, again.train, again.data, again.resources) == (
        job.model,
        job.train,
        job.data,
        job.resources,
    )


def test_sweep_loads_again(write_job):
    job = load_job("digits_cnn", ["sweep.over.model.filters=[8, 16]|[32]", "sweep.trials=2"])

    assert job.sweep is not None
    assert job.sweep.over == {"model.filters": "[8, 16]|[32]"}
    assert job.places["sweep.over.model.filters"].startswith("--set")
    assert load_job(write_job(job_text(job))).sweep == job.sweep


@pytest.mark.parametrize(
    ("text", "seconds", "written"),
    [
        ("00:15:00", 900, "00:15:00"),
        ("1:00:00", 3600, "01:00:00"),
        ("24:00:00", 86400, "1-00:00:00"),
        ("1-00:00:01", 86401, "1-00:00:01"),
        ("99:59:59", 359999, "4-03:59:59"),
        ("0-00:00:01", 1, "00:00:01"),
        ("120:00:00", 432000, "5-00:00:00"),
        ("168:00:00", 604800, "7-00:00:00"),
    ],
)
@pytest.mark.cases("C16")
def test_time_read_and_written(text, seconds, written):
    assert parse_time(text) == seconds
    assert format_time(seconds) == written


@pytest.mark.cases("C15")
@pytest.mark.parametrize(
    ("written", "options"),
    [
        ("{exclusive: true}", {"exclusive": ""}),
        ("{exclusive: }", {"exclusive": ""}),
        ("{exclusive: null, hold: True}", {"exclusive": "", "hold": ""}),
        ("{exclusive: ''}", {"exclusive": ""}),
        ("{exclusive: false, constraint: a}", {"constraint": "a"}),
        ("{exclusive: user}", {"exclusive": "user"}),
        ("{nice: 'false', no-kill: off}", {"nice": "false", "no-kill": "off"}),
        ("{kill-on-invalid-dep: yes, nice: 007}", {"kill-on-invalid-dep": "yes", "nice": "007"}),
        ("{kill-on-invalid-dep: true}", {"kill-on-invalid-dep": "yes"}),
        ("{kill-on-invalid-dep: false}", {"kill-on-invalid-dep": "no"}),
        ("{exclude: [g1, 'g[2-3]']}", {"exclude": "g1,g[2-3]"}),
        ("{mail-type: [END, FAIL], nodelist: [007]}", {"mail-type": "END,FAIL", "nodelist": "007"}),
    ],
)
def test_flags_of_sbatch(tmp_path, written, options):
    """A flag is on or off in YAML's words; text stays as it is."""
    (tmp_path / "a.yaml").write_text(f"{MODEL}slurm: {written}\n")
    assert load_job(tmp_path / "a.yaml").slurm == options

    (tmp_path / "a.yaml").write_text(MODEL)
    assert load_job(tmp_path / "a.yaml", [f"slurm={written}"]).slurm == options


@pytest.mark.cases("C15")
@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("true", {"exclusive": ""}), ("null", {"exclusive": ""}), ("", {"exclusive": ""}),
        ("false", {}), ("user", {"exclusive": "user"}),
    ],
)  # fmt: skip
def test_flags_that_are_set(tmp_path, text, options):
    (tmp_path / "a.yaml").write_text(f"{MODEL}slurm: {{exclusive: mcs}}\n")

    assert load_job(tmp_path / "a.yaml", [f"slurm.exclusive={text}"]).slurm == options


BASES = (
    MODEL
    + "env: &one {A: '1', B: '1'}\nslurm: &two {B: '2', C: '2'}\ncluster: {qos: q, node: {%s}}\n"
)


@pytest.mark.cases("C39")
@pytest.mark.parametrize(
    ("written", "merged"),
    [
        ("<<: *one", {"A": "1", "B": "1"}),
        ("<<: *one, B: own", {"A": "1", "B": "own"}),
        ("B: own, <<: *one", {"A": "1", "B": "own"}),
        ("<<: [*one, *two]", {"A": "1", "B": "1", "C": "2"}),
        ("<<: [*two, *one]", {"A": "1", "B": "2", "C": "2"}),
        ("<<: {<<: *two, A: x}", {"A": "x", "B": "2", "C": "2"}),
        ("'<<': text", {"<<": "text"}),
    ],
)
def test_merge_keys(written, merged):
    """Own keys stay wherever they stand, and of several sections the first one counts."""
    problems: list[Problem] = []
    document = read_yaml(BASES % written, "a.yaml", problems)

    assert problems == [] and document is not None
    assert document.value["cluster"].value["node"].plain() == merged


@pytest.mark.cases("C39")
def test_merged_values_keep_their_places(tmp_path):
    text = MODEL + "resources: &r\n  gpus: 1\n  time: 02:00:00\n"
    (tmp_path / "a.yaml").write_text(text + "train: &t {epochs: 3}\nenv: {<<: *r, gpus: '2'}\n")

    job = load_job(tmp_path / "a.yaml")

    assert job.env == {"gpus": "2", "time": "02:00:00"}
    assert job.places["env.time"].endswith("a.yaml:6")
