"""Jobs and steps that are commands of hpcdl's: which may be one, what their words mean, how they are planned."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hpcdl import planfile
from hpcdl.cluster import load_cluster
from hpcdl.contract.exit_status import EXIT_USER_CODE
from hpcdl.errors import JobError
from hpcdl.job import load_job
from hpcdl.job.pipeline import load_pipeline
from hpcdl.job.text import job_text
from hpcdl.planning import Command, plan
from hpcdl.run.causes import Ending, of_ending
from hpcdl.script import render
from hpcdl.sweeps.checks import check_sweep


@pytest.fixture
def command_job(write_job):
    return lambda command: load_job(write_job(f"name: step\nhpcdl: {command}\n"))


@pytest.mark.parametrize(
    "written", ["report k3f9 -o 'a b.html'", "hpcdl report k3f9 -o 'a b.html'", None]
)
def test_command_is_read_and_planned(command_job, tmp_path, written):
    job = command_job(written or '[report, k3f9, -o, "a b.html"]')
    planned = plan(job, load_cluster("generic"))

    assert planned.program == Command(["report", "k3f9", "-o", "a b.html"], str(tmp_path))
    assert (planned.container, planned.size.gpus, planned.size.cpus) == (None, 0, 1)
    assert "hpcdl report k3f9 -o 'a b.html'" in planned.notes[0]
    content = json.loads(json.dumps(planfile.to_json(planned)))
    assert planfile.from_json(content, {}) == planned
    again = tmp_path / "again.yaml"
    again.write_text(job_text(job))
    assert load_job(again) == replace(job, source=load_job(again).source)


def test_set_of_command_asks_small_share(write_job):
    job = load_job(
        write_job("name: a\nhpcdl: data pack x\nresources: {cpus: 8, time: '02:00:00'}\n")
    )
    size = plan(job, load_cluster("generic", ["cluster.node.memory_gb=256"])).size

    assert (size.gpus, size.cpus, size.time_limit_s, size.memory_gb) == (0, 8, 7200, 4.0)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("data pack x", ["data", "pack", "x", "--data-root", "/d"]),
        ("data pack x --to y", ["data", "pack", "x", "--to", "y"]),
        ("data verify --data-root=z", ["data", "verify", "--data-root=z"]),
    ],
)
def test_command_names_its_data_root(command_job, command, words):
    cluster = load_cluster("local", ["cluster.data_root=/d"])

    program = plan(command_job(command), cluster).program

    assert isinstance(program, Command)
    assert program.words == words


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("submit a.yaml", "got 'submit a.yaml': call other commands on the login node"),
        ("status --watch", "expected one of data pack"),
        ("shell k3f9", "expected one of data pack"),
        ("data", "expected one of data pack"),
        ("''", "got 'nothing'"),
        ("report k3f9 --open", "a node has no browser"),
        ("result k3f9 > a.txt", "no shell reads this"),
        ("result k3f9 2>&1", "has '2>&1'"),
        ("report 'a b", "No closing quotation"),
        ("{report: k3f9}", "hpcdl"),
        ("report a\nscript: a.py", "goes with a model or a script"),
        ("report a\nsweep: {over: {a: '1|2'}}", "goes with a model or a script"),
    ],
)
def test_other_commands_are_refused(command_job, command, message):
    with pytest.raises(JobError) as refused:
        command_job(command)

    assert message.replace("no shell reads this", "no shell reads it") in str(refused.value)


def test_command_is_no_sweep(command_job):
    with pytest.raises(JobError, match="a sweep runs a training or a script"):
        check_sweep(command_job("report a"))


@pytest.mark.parametrize(
    ("status", "cause"), [(2, "spec"), (1, "internal"), (EXIT_USER_CODE, "internal")]
)
def test_exit_status_gives_cause(status, cause):
    assert of_ending(Ending(status, script=True, command=True)).cause == cause


def test_rendered_script_runs_command(command_job):
    text = render(plan(command_job("result 'k3f9; rm x'"), load_cluster("generic")))

    assert "apptainer" not in text
    assert "    'k3f9; rm x'\n" in text


def test_step_comes_after_steps_it_names(tmp_path):
    (tmp_path / "a.py").write_text("")
    file = tmp_path / "pipeline.yaml"
    file.write_text(
        "steps:\n"
        "  report: {hpcdl: 'report {train} -o {pack}/x.html', after: 'pack:any'}\n"
        "  train: {job: {name: t, script: a.py}, after: pack}\n"
        "  pack:\n"
        "    hpcdl: data pack signs\n"
        "    resources: {time: '00:05:00'}\n"
    )

    steps = load_pipeline(str(file))

    assert [step.name for step in steps] == ["pack", "train", "report"]
    assert steps[2].after == ["pack:any", "train"]
    assert (steps[0].job.name, steps[0].job.resources.time_limit_s) == ("pack", 300)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("{hpcdl: 'report {trian}'}", "there is no other step 'trian'"),
        ("{hpcdl: 'report {a}'}", "there is no other step 'a'"),
        ("{hpcdl: submit x, after: b}", "expected one of data pack"),
        ("{hpcdl: report x, job: a.yaml}", "a step is a job or a command"),
        ("{job: a.yaml, resources: {cpus: 2}}", "goes with hpcdl"),
        ("{run: hpcdl report x}", "{hpcdl: a command}"),
        ("{hpcdl: report {b}, after: b}", "within braces put quotes"),
    ],
)
def test_mistakes_of_steps_have_places(tmp_path, step, message):
    (tmp_path / "a.yaml").write_text("name: a\nscript: a.py\n")
    (tmp_path / "a.py").write_text("")
    file = tmp_path / "pipeline.yaml"
    file.write_text(f"steps:\n  a: {step}\n  b: {{job: a.yaml}}\n")

    with pytest.raises(JobError) as refused:
        load_pipeline(str(file))

    assert message in str(refused.value)
    assert "pipeline.yaml:2" in str(refused.value)
