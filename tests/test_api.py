"""What Python programs call: the same scripts and the same refusals as the command line's."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import pytest

import hpcdl
from hpcdl.errors import JobError, UserError

SITE = """name: site
node: {cpus: 8, gpus: 1}
images: {tensorflow: /images/tf.sif}
data_root: /data
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site.yaml").write_text(SITE)
    return hpcdl.load_cluster("site.yaml")


def test_render_equals_render_command(site, cli, tmp_path):
    (tmp_path / "t.py").write_text("print('hello')\n")

    text = hpcdl.render(hpcdl.load_job("t.py"), site)

    assert text == cli("render", "t.py", "--cluster", "site.yaml").out
    assert "apptainer" in text


def test_rendered_training_sees_data_elsewhere(site, tmp_path):
    """The folder of the data lies outside data_root: the script binds it, and nobody has to say so."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set/own.npz").touch()
    (tmp_path / "a.yaml").write_text(
        f"name: a\ndata: {{path: {tmp_path}/set/own.npz}}\nmodel: {{name: mlp}}\n"
    )

    text = hpcdl.render(hpcdl.load_job("a.yaml"), site)

    assert f"--bind {tmp_path}/set" in text.replace("\\\n", " ")


def test_rendered_training_lists_its_needs(site, cli, tmp_path):
    """Such a script runs in a folder with run.json and code/ only, and its head says so."""
    (tmp_path / "a.yaml").write_text("name: a\ndata: {name: digits}\nmodel: {name: mlp}\n")
    job = hpcdl.load_job("a.yaml")

    text = hpcdl.render(job, site)

    assert text == cli("render", "a.yaml", "--cluster", "site.yaml").out
    for script in (text, hpcdl.render(hpcdl.plan(job, site))):
        assert "it needs run.json and code/ next to it" in script


def test_notebook_is_not_a_script(site, tmp_path):
    (tmp_path / "n.ipynb").write_text(
        '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    )

    with pytest.raises(UserError, match="hpcdl render -o DIR/"):
        hpcdl.render(hpcdl.load_job("n.ipynb"), site)


def test_invisible_files_are_a_warning(site, tmp_path):
    """A file that the container does not show is a Python warning."""
    Path.home().joinpath("mine.csv").touch()
    (tmp_path / "t.py").write_text("import os\nopen(os.path.expanduser('~/mine.csv'))\n")

    with pytest.warns(
        UserWarning, match="names ~/mine.csv, and in the job ~ is the run's own home"
    ):
        hpcdl.render(hpcdl.load_job("t.py"), site)


def test_render_of_job_needs_cluster(site, tmp_path):
    """The error shows the right call."""
    (tmp_path / "t.py").touch()

    with pytest.raises(TypeError, match=r"render\(job, load_cluster\(name\)\)"):
        hpcdl.render(hpcdl.load_job("t.py"))


LACKS = "import no_such_module_anywhere\n"


def test_submit_refuses_failing_check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.py").write_text(LACKS)
    job, here = hpcdl.load_job("t.py", ["resources.gpus=0"]), hpcdl.load_cluster("local")

    with pytest.raises(JobError) as caught:
        hpcdl.submit(job, here, backend="local", runs_dir=str(tmp_path / "runs"))

    (problem,) = caught.value.problems
    assert "no_such_module_anywhere" in problem.message
    assert problem.where == "t.py"
    assert not (tmp_path / "runs").exists()


def test_submit_notes_are_warnings(tmp_path, monkeypatch):
    """What hpcdl submit prints as a note is a Python warning here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.py").write_text(LACKS)
    job = hpcdl.load_job("t.py", ["resources.gpus=2"])
    here = hpcdl.load_cluster("local", ["cluster.emulate_gpus=true"])

    with pytest.warns(UserWarning, match="EMULATED GPUs: 2 asked for"), pytest.raises(JobError):
        hpcdl.submit(job, here, backend="local", runs_dir=str(tmp_path / "runs"))


@pytest.mark.filterwarnings(
    "ignore:Exception ignored in.*Popen"
)  # it runs on without this process, as it is to
def test_submitted_without_checks(tmp_path, monkeypatch):
    """The run is made and fails by itself; its manifest says what sent it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.py").write_text(LACKS)
    job, here = hpcdl.load_job("t.py", ["resources.gpus=0"]), hpcdl.load_cluster("local")

    run = hpcdl.submit(
        job,
        here,
        backend="local",
        runs_dir=str(tmp_path / "runs"),
        check=False,
        command_line=["sweep.py", "7"],
    )

    assert run.wait().state == "failed"
    assert json.loads(run.paths.manifest.read_text())["command_line"] == ["sweep.py", "7"]


def test_example_of_render_is_true(site):
    """What its docstring shows, with the output that it promises."""
    (example,) = doctest.DocTestFinder().find(hpcdl.render, "render", globs={})

    outcome = doctest.DocTestRunner().run(example)

    assert (outcome.attempted, outcome.failed) == (4, 0)


@pytest.mark.parametrize("function", ["sweep", "submit"])
@pytest.mark.parametrize("file", ["my job.py", Path("my job.py")])
def test_file_is_not_a_job(function, file):
    with pytest.raises(JobError, match=r"expected a job from hpcdl.load_job: .*\('my job.py'\)"):
        getattr(hpcdl, function)(file, cluster="local")
