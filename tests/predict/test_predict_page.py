"""docs/predict.md: its commands run, its line for cron trains only after a drift."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import REPOSITORY, blocks

PAGE = REPOSITORY / "docs" / "predict.md"


def test_commands_run(make_run, images):
    pytest.importorskip("ai_edge_litert")
    commands = blocks(PAGE, "exported")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "RUN": str(make_run()), "OTHER": str(make_run("other"))}

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=images.parent, env=env, capture_output=True, text=True, timeout=180,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert commands.count("hpcdl predict") == 2
    assert "30 images predicted" in done.stderr


@pytest.mark.parametrize(("code", "acts"), [(0, False), (1, False), (2, False), (3, True)])
@pytest.mark.parametrize("line", [0, 1])
def test_cron_acts_on_drift_alone(tmp_path, code, acts, line):
    """The prediction's exit code decides; a stand-in takes the place of hpcdl and of mail."""
    command = re.findall(r"^0 6 \* \* 1  (.*)$", PAGE.read_text(), re.MULTILINE)[line]
    command = command.replace("/home/me", str(tmp_path))
    stand_ins = f'hpcdl() {{ echo "$1"; [ "$1" != predict ] || return {code}; }}; mail() {{ echo mail >&2; }}\n'

    done = subprocess.run(
        ["bash", "-c", stand_ins + command], capture_output=True, text=True, timeout=10
    )

    assert ("submit" in done.stdout or "mail" in done.stderr) == acts
