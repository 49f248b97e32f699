"""A script for each site: as it was read last, and as bash and shellcheck read it (`make golden`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hpcdl.cluster import load_cluster
from hpcdl.job import load_job
from hpcdl.planning import plan
from hpcdl.script import render
from tests.sites import ACCOUNT, SITES, at_a_site

FOLDER = Path(__file__).with_name("golden_sites")
FILES = [f"{name}.sbatch" for name in SITES]


@pytest.mark.parametrize("name", SITES)
def test_site_script_unchanged(request, monkeypatch, name):
    at_a_site(monkeypatch)
    text = render(plan(load_job("mnist_script"), load_cluster(name, [ACCOUNT])))
    file = FOLDER / f"{name}.sbatch"
    if request.config.getoption("--golden"):
        file.write_text(text)

    assert text == file.read_text(), "read the difference; if it is meant: make golden"


def test_site_scripts_complete():
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(FILES)


def test_site_scripts_accepted_by_shellcheck():
    shellcheck = Path(sys.executable).with_name("shellcheck")

    done = subprocess.run(
        [shellcheck, "--shell=bash", *FILES], cwd=FOLDER, capture_output=True, text=True
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("file", FILES)
def test_site_script_accepted_by_bash(file):
    subprocess.run(["bash", "-n", FOLDER / file], check=True)
