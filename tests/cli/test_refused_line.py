"""An answer of SLURM's about a batch script stands at the line that it is about, where that is known."""

from __future__ import annotations

import os

import pytest

from hpcdl.batchscript.read import read_script
from hpcdl.cli.refused_line import refused_line

SCRIPT = """#!/bin/bash
#SBATCH -A mine
#SBATCH --licenses=a:1 -C h100
#SBATCH --partition=fast --gres=gpu:9
"""


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("Invalid license specification", 3),
        ("Invalid feature specification", 3),
        ("Invalid account or account/partition combination specified", 2),
        ("invalid partition specified: fast", 4),
        ("Invalid generic resource (gres) specification", 4),
        ("Invalid qos specification", None),
        ("Requested node configuration is not available", None),
    ],
)
def test_line_that_slurm_refuses(tmp_path, message, line):
    path = tmp_path / "a.slurm"
    path.write_text(SCRIPT)

    found = refused_line(read_script(path), message)

    assert (found.line if found is not None else None) == line


@pytest.mark.parametrize("command", ["check", "adopt"])
def test_pipe_is_not_read(cli, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("f.slurm")

    answer = cli(command, "f.slurm")

    assert answer.code == 2 and "expected a" in answer.err
