"""Matplotlib's figures are kept as files of the run, for scripts and notebooks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hpcdl.cluster import load_cluster
from hpcdl.container import Places, environment
from hpcdl.job import load_job
from hpcdl.planning import SUPPORT, plan
from hpcdl.usercode.freeze import freeze_support

pytestmark = pytest.mark.cases("F14")


@pytest.fixture
def run_script(tmp_path):
    """Runs a program as a script job's is run: its status, stdout and stderr."""
    freeze_support(tmp_path)

    def run(program, attempt=1, **variables):
        environment = {
            **os.environ,
            "HPCDL_STOP_FILE": str(tmp_path / "run" / "stop"),
            "HPCDL_ATTEMPT": str(attempt),
            "PYTHONPATH": str(tmp_path / SUPPORT),
            "MPLBACKEND": "module://hpcdl_support.figures",
            **variables,
        }
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def figures(folder):
    return sorted(os.listdir(folder / "run" / "figures"))


def test_variables_choose_the_backend(write_job):
    """A script's environment names the backend, unless the job's own does."""
    site = load_cluster("local")
    job = write_job("name: a\nscript: a.py\nresources: {gpus: 0}\n", a__py="")
    places = Places(workdir="/w", home="/h", stop_file="/s", support="/u/hpcdl_support")
    own = plan(load_job(job, ["env.MPLBACKEND=Agg", "env.PYTHONPATH=/mine"]), site)

    usual = environment(plan(load_job(job), site), places)
    assert usual["MPLBACKEND"] == "module://hpcdl_support.figures"
    assert usual["PYTHONPATH"] == "/u/hpcdl_support"
    assert environment(own, places)["MPLBACKEND"] == "Agg"
    assert environment(own, places)["PYTHONPATH"] == "/mine:/u/hpcdl_support"
    old_run = Places(workdir="/w", home="/h", stop_file="/s")
    assert "MPLBACKEND" not in environment(plan(load_job(job), site), old_run)


def test_missing_matplotlib_is_harmless(run_script):
    assert run_script("print(1)") == (0, "1\n", "")


@pytest.mark.parametrize("broken", ["folder is a file", "disk"])
def test_unwritable_folder_ends_nothing(run_script, tmp_path, broken):
    """A figure that cannot be written is said, and the program goes on."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "figures").write_text("")
    program = "from hpcdl_support import pictures\npictures.save_new(b'x')\nprint('on')"

    status, out, errors = run_script(program)

    assert (status, out) == (0, "on\n")
    assert errors.startswith("hpcdl: a figure cannot be saved: ")


SHOWS = "import matplotlib.pyplot as plt\nfor n in (1, 2):\n    plt.plot([1, n])\n    plt.show()\n"


def test_shown_figures_are_saved(run_script, tmp_path):
    """Each plt.show() saves what is open and closes it; a later attempt overwrites nothing."""
    pytest.importorskip("matplotlib")

    status, out, errors = run_script(f"{SHOWS}print(plt.get_fignums())")
    again = run_script(SHOWS, attempt=2)

    path = tmp_path / "run" / "figures"
    assert (status, out) == (0, "[]\n")
    assert (
        errors
        == f"hpcdl: figure saved: {path}/figure-1.png\nhpcdl: figure saved: {path}/figure-2.png\n"
    )
    assert again[0] == 0
    assert figures(tmp_path) == [f"figure-{number}.png" for number in (1, 2, 3, 4)]
    assert (path / "figure-1.png").read_bytes().startswith(b"\x89PNG")


def test_savefig_still_saves_for_user(run_script, tmp_path):
    pytest.importorskip("matplotlib")

    status, _, errors = run_script(
        "import matplotlib.pyplot as plt\nplt.plot([1])\nplt.savefig('mine.pdf')\n"
    )

    assert (status, errors) == (0, "")
    assert (tmp_path / "mine.pdf").exists()
    assert not (tmp_path / "run").exists()


def test_animation_is_one_file(run_script, tmp_path):
    """plt.pause in a loop draws one figure again and again: one file, replaced."""
    pytest.importorskip("matplotlib")
    program = "import matplotlib.pyplot as plt\nfor n in range(3):\n    plt.plot([n])\n    plt.pause(0.01)\n"

    status, _, errors = run_script(f"{program}plt.gcf().show()\n")

    assert status == 0, errors
    assert errors.count("figure saved") == 1
    assert figures(tmp_path) == ["figure-1.png"]


def test_figure_that_fails_ends_nothing(run_script):
    pytest.importorskip("matplotlib")
    program = (
        "import matplotlib.pyplot as plt\nplt.title('$\\\\no_such$')\nplt.show()\nprint('on')\n"
    )

    status, out, errors = run_script(program)

    assert (status, out) == (0, "on\n"), errors
    assert errors.startswith("hpcdl: a figure cannot be saved: ")


def test_child_python_finds_the_backend(run_script, tmp_path):
    """A program that starts another one in a folder of its own hands the backend on."""
    pytest.importorskip("matplotlib")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "plot.py").write_text(SHOWS)

    status, _, errors = run_script(
        "import subprocess, sys\nsubprocess.run([sys.executable, 'deep/plot.py'], check=True)"
    )

    assert status == 0, errors
    assert figures(tmp_path) == ["figure-1.png", "figure-2.png"]
