"""What Python programs call: the same scripts and the same refusals as the command line's."""

from __future__ import annotations

import json

import pytest

import hpcdl
from hpcdl.errors import JobError

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


def test_script_is_rendered_as_by_the_command(site, cli, tmp_path):
    (tmp_path / "t.py").write_text("print('hello')\n")

    text = hpcdl.render(hpcdl.load_job("t.py"), site)

    assert text == cli("render", "t.py", "--cluster", "site.yaml").out
    assert "apptainer" in text


def test_rendered_training_sees_data_elsewhere(site, tmp_path):
    """The folder of the data lies outside data_root: the script binds it, and nobody has to say so."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set/own.npz").touch()
    (tmp_path / "a.yaml").write_text(f"name: a\ndata: {{path: {tmp_path}/set/own.npz}}\nmodel: {{name: mlp}}\n")

    text = hpcdl.render(hpcdl.load_job("a.yaml"), site)

    assert f"--bind {tmp_path}/set" in text.replace("\\\n", " ")


def test_render_of_a_job_needs_a_cluster(site, tmp_path):
    (tmp_path / "t.py").touch()

    with pytest.raises(TypeError, match=r"render\(job, load_cluster\(name\)\)"):
        hpcdl.render(hpcdl.load_job("t.py"))


LACKS = "import no_such_module_anywhere\n"


def test_what_cannot_run_is_not_sent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.py").write_text(LACKS)
    job, here = hpcdl.load_job("t.py"), hpcdl.load_cluster("local")

    with pytest.raises(JobError) as caught:
        hpcdl.submit(job, here, backend="local", runs_dir=str(tmp_path / "runs"))

    (problem,) = caught.value.problems
    assert "no_such_module_anywhere" in problem.message
    assert problem.where == "t.py"
    assert not (tmp_path / "runs").exists()


@pytest.mark.filterwarnings("ignore:Exception ignored in.*Popen")  # it runs on without this process, as it is to
def test_submitted_without_checks(tmp_path, monkeypatch):
    """The run is made and fails by itself; its manifest says what sent it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.py").write_text(LACKS)
    job, here = hpcdl.load_job("t.py"), hpcdl.load_cluster("local")

    run = hpcdl.submit(
        job, here, backend="local", runs_dir=str(tmp_path / "runs"), check=False, command_line=["sweep.py", "7"]
    )

    assert run.wait().state == "failed"
    assert json.loads(run.paths.manifest.read_text())["command_line"] == ["sweep.py", "7"]
