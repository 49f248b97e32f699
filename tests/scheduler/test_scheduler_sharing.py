"""SLURM is asked seldom: all shells of a user share one answer, about arrays' tasks, too."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from hpcdl import cache
from hpcdl.scheduler import job_answers
from hpcdl.scheduler.array_jobs import Jobs
from hpcdl.scheduler.jobinfo import JobInfo

QUEUE = """\
123_[4-9%2]|PENDING|JobArrayTaskLimit||2026-11-29T01:00:00
123_2|RUNNING|None|n1|2026-11-28T12:00:00
123_3|PENDING|BeginTime||N/A
77|RUNNING|None|n2|2026-11-28T12:00:00
"""
ACCOUNTED = "123_0|COMPLETED|n1\n123_1|CANCELLED by 1000|n1\n123_[2-9%2]|PENDING|None assigned\n"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """SLURM's commands, each of which notes that it was called, and how."""
    folder = tmp_path / "bin"
    folder.mkdir()
    calls = tmp_path / "calls"
    for name, text in {"squeue": QUEUE, "sacct": ACCOUNTED, "sbatch": ""}.items():
        (tmp_path / name).write_text(text)
        path = folder / name
        note = f'echo {name} "$@" "length $SLURM_BITSTR_LEN" >>{calls}'
        path.write_text(f"#!/bin/sh\n{note}\nsleep 0.3\ncat {tmp_path / name}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def called(name):
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [line for line in lines if line.startswith(f"{name} ")]

    return called


def states(answers):
    return {job_id: job.state for job_id, job in answers.items()}


def test_shells_at_once_ask_once(slurm):
    program = """
import sys
from hpcdl.scheduler import job_answers
answers = job_answers.latest(sys.argv[1:], 60)
print(sorted(job.state for job in answers.about(sys.argv[1:]).values()))
"""
    shells = []
    for words in (["123_2", "123_0"], ["123_2"], ["123_3", "77"], ["123_2"]):
        argv = [sys.executable, "-c", program, *words]
        shells.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
    outputs = [shell.communicate()[0] for shell in shells]

    assert [shell.returncode for shell in shells] == [0, 0, 0, 0]
    assert "RUNNING" in outputs[1]
    assert len(slurm("squeue")) == 1
    assert len(slurm("sacct")) <= 1


def test_task_of_a_range_waits(slurm):
    answers = job_answers.latest(["123_7"], 60).about(["123_7"])

    assert states(answers) == {"123_7": "PENDING"}
    assert answers["123_7"].reason == "JobArrayTaskLimit"
    assert answers["123_7"].start == "2026-11-29T01:00:00"
    assert slurm("sacct") == []


def test_lists_of_tasks_are_whole(slurm):
    """squeue cuts a long list of tasks short, unless it is told not to."""
    job_answers.latest(["123_7"], 60)

    assert slurm("squeue")[0].endswith("length 0")


def test_ended_tasks_are_asked_by_array(slurm):
    ids = ["123_0", "123_1", "123_2"]
    answers = job_answers.latest(ids, 60).about(ids)

    assert states(answers) == {"123_0": "COMPLETED", "123_1": "CANCELLED", "123_2": "RUNNING"}
    (call,) = slurm("sacct")
    assert "--jobs=123 " in call


def test_array_shows_all_its_tasks(slurm):
    answers = job_answers.latest(["123"], 60).about(["123"])

    assert set(answers) == {"123_[4-9%2]", "123_2", "123_3"}


def test_array_id_is_no_task_of_another(slurm):
    assert job_answers.latest(["12", "12_3"], 60).about(["12", "12_3"]) == {}


def test_later_answer_about_a_task_counts():
    """A task that failed and was sent back is in the list of those that wait."""
    jobs = Jobs({"5_1": JobInfo("FAILED", 10.0), "5_[1-3]": JobInfo("PENDING", 20.0)})

    assert states(jobs.about("5_1")) == {"5_1": "PENDING"}


def test_list_of_another_form_is_harmless():
    jobs = Jobs({"5_[1-x]": JobInfo("PENDING", 10.0), "5+1": JobInfo("RUNNING", 10.0)})

    assert jobs.about("5_1") == {}
    assert states(jobs.about("5+1")) == {"5+1": "RUNNING"}


def test_large_array_is_answered(slurm, tmp_path):
    ids = [f"9_{number}" for number in range(0, 1000, 50)]
    (tmp_path / "squeue").write_text("9_[0-999%8]|PENDING|Priority||N/A\n")

    answers = job_answers.latest(ids, 60).about(ids)

    assert set(states(answers).values()) == {"PENDING"}
    assert len(cache.load("slurm-jobs.json")["jobs"]) == 1
    assert time.time() - cache.load("slurm-jobs.json")["time"] < 60
