"""The section `notify` of a job file and of a profile: what it may hold, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hpcdl.cluster import load_cluster
from hpcdl.errors import ClusterError, JobError
from hpcdl.job import load_job
from hpcdl.job.text import job_text
from hpcdl.planning import plan
from hpcdl.script import render

SCRIPT = "name: a\nscript: a.py\n"


def test_mail_is_slurms(write_job):
    job = load_job(write_job(SCRIPT + "notify: {mail: me@site.org}\n", a__py=""))
    directives = plan(job, load_cluster("generic")).directives
    assert ("mail-type", "END,FAIL") in directives
    assert ("mail-user", "me@site.org") in directives


def test_jobs_section_replaces_profiles(write_job):
    sets = ["cluster.notify.mail=site", "cluster.notify.command=[note, x]"]
    cluster = load_cluster("generic", sets)
    usual = load_job(write_job(SCRIPT, a__py=""))
    assert plan(usual, cluster).notify.command == ["note", "x"]
    assert ("mail-user", "site") in plan(usual, cluster).directives
    own = load_job(write_job(SCRIPT + "notify: {command: [mine]}\n", a__py=""))
    assert plan(own, cluster).notify.command == ["mine"]
    assert not [value for name, value in plan(own, cluster).directives if name == "mail-user"]


def test_slurm_section_replaces_profiles_mail(write_job):
    cluster = load_cluster("generic", ["cluster.notify.mail=site"])
    job = load_job(write_job(SCRIPT + "slurm: {mail-user: me, mail-type: ALL}\n", a__py=""))
    directives = plan(job, cluster).directives
    assert [value for name, value in directives if name == "mail-user"] == ["me"]


def test_command_is_not_in_script(write_job):
    text = SCRIPT + "notify: {command: [note, secret-word]}\n"
    decided = plan(load_job(write_job(text, a__py="")), load_cluster("generic"))
    assert "secret-word" not in render(decided)


def test_program_is_found_beside_job(write_job, tmp_path) -> None:
    path = write_job(SCRIPT + "notify: {command: [./note, ./x]}\n", a__py="", note="")
    job = load_job(path)
    assert job.notify is not None
    assert job.notify.command == [str(tmp_path / "note"), "./x"]
    again = tmp_path / "again.yaml"
    again.write_text(job_text(job))
    assert load_job(again).notify == job.notify


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"command": "note x"}, "expected a list of texts"),
        ({"command": [""]}, "expected a command and its arguments"),
        ({"command": ["./missing"]}, "missing"),
        ({"mail": "me and you"}, "expected an address such as me@site.org; got 'me and you'"),
        ({"mail": "a@b --uid=0"}, "expected an address"),
        ({"timeout_s": 3600}, "300"),
        ({"maill": "x"}, "did you mean mail?"),
    ],
)
def test_bad_section_is_a_problem(write_job, section, message):
    text = SCRIPT + yaml.safe_dump({"notify": section})
    with pytest.raises(JobError) as caught:
        load_job(write_job(text, a__py=""))
    assert message in str(caught.value)


def test_mail_twice_is_a_problem(write_job):
    text = SCRIPT + "notify: {mail: me}\nslurm: {mail-user: you}\n"
    with pytest.raises(JobError, match=r"slurm\.mail-user.*notify\.mail"):
        load_job(write_job(text, a__py=""))


def test_profiles_command_has_whole_path():
    with pytest.raises(ClusterError, match="whole path"):
        load_cluster("generic", ["cluster.notify.command=[./note]"])
    cluster = load_cluster("generic", ["cluster.notify.command=[~/note]"])
    assert cluster.notify.command == [str(Path("~/note").expanduser())]
