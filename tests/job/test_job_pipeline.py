"""Pipelines: several jobs in one file, in the order of what they wait for, and all their mistakes at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcdl.errors import JobError, UserError
from hpcdl.job import load_job
from hpcdl.job.pipeline import is_pipeline, load_pipeline

JOB = "name: {name}\nscript: a.py\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.py").write_text("")
    (tmp_path / "a.yaml").write_text(JOB.format(name="a"))
    return tmp_path


def written(folder: Path, text: str) -> str:
    path = folder / "pipeline.yaml"
    path.write_text(text)
    return str(path)


def test_steps_come_in_order(folder):
    (folder / "b.yaml").write_text(JOB.format(name="b") + 'after: ["first:any", k3f9]\n')
    file = written(
        folder,
        "steps:\n"
        "  last: {job: {name: c, script: a.py}, after: [second, first]}\n"
        "  second: {job: b.yaml, set: resources.gpus=3}\n"
        "  first: {job: a.yaml}\n",
    )

    steps = load_pipeline(file)

    assert [step.name for step in steps] == ["first", "second", "last"]
    assert steps[1].after == ["first:any"]
    assert (steps[1].job.after, steps[1].job.resources.gpus) == (["k3f9"], 3)
    assert steps[2].job.script == str(folder / "a.py")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: {a: {job: a.yaml, after: b}}", "there is no other step 'b'"),
        ("steps: {a: {job: a.yaml, after: a}}", "there is no other step 'a'"),
        ("steps: {a: {jobb: a.yaml}}", "expected {job: FILE}"),
        ("steps: {a: {job: a.yaml, afer: b}}", "unknown key; did you mean after?"),
        ("steps: {a: {job: a.yaml, after: 3}}", "expected a text or a list of texts; got 3"),
        ("steps: {a: {job: 3}}", "expected a job file's path, or a job's keys; got 3"),
        ("steps: {a b: {job: a.yaml}}", "expected letters, digits"),
        ("steps: []", "expected {NAME: {job: ..., after: ...}, ...}"),
        ("name: x\nsteps: {a: {job: a.yaml}}", "unknown key; a pipeline has steps alone"),
        ("steps: {a: {job: {name: x, script: no.py}}}", "there is no file"),
        (
            "steps:\n  a: {job: a.yaml, after: b}\n  b: {job: a.yaml, after: a}",
            "these wait for each other: a, b",
        ),
    ],
)
def test_mistakes_have_their_place(folder, text, message):
    with pytest.raises(JobError) as refused:
        load_pipeline(written(folder, text + "\n"))

    assert message in str(refused.value)
    assert "pipeline.yaml" in str(refused.value)


def test_all_mistakes_at_once(folder):
    file = written(folder, "steps: {a: {job: {name: x}}, b: {job: 3}, c: 4}\n")

    with pytest.raises(JobError, match="4 problems"):
        load_pipeline(file)


def test_pipeline_is_not_a_job(folder):
    file = written(folder, "steps: {a: {job: a.yaml}}\n")

    assert is_pipeline(file)
    assert not is_pipeline(str(folder / "a.yaml"))
    assert not is_pipeline(str(folder / "nowhere.yaml"))
    with pytest.raises(UserError, match="is a pipeline of several jobs, not a job file"):
        load_job(file)
