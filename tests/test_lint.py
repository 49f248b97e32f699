"""The lint rules hold what no test of behaviour could: nothing in hpcdl hands built text to a shell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SHELLS = {
    "subprocess.run(f'ls {x}', shell=True)": "S602",
    "subprocess.Popen(x, shell=True)": "S602",
    "subprocess.check_output('ls ' + x, shell=True)": "S602",
    "run(x, shell=True)": "S604",
    "os.system('ls ' + x)": "S605",
    "os.popen(x)": "S605",
    "subprocess.getoutput(x)": "S605",
    "subprocess.getstatusoutput(f'ls {x}')": "S605",
    "asyncio.create_subprocess_shell(x)": "TID251",
    "os.execvp('sh', ['sh', '-c', x])": "S606",
    "os.spawnlp(os.P_WAIT, 'sh', 'sh', '-c', x)": "S606",
    "eval(x)": "S307",
    "pickle.loads(x)": "S301",
    "yaml.load(x, Loader=yaml.Loader)": "S506",
}


@pytest.mark.parametrize("folder", ["hpcdl/launch", "hpcdl/trainer"])
@pytest.mark.parametrize(("call", "rule"), SHELLS.items(), ids=SHELLS)
def test_shell_on_built_text_is_refused(call: str, rule: str, folder: str) -> None:
    modules = ("asyncio", "os", "pickle", "subprocess", "yaml")
    lines = ['"""A module."""', *(f"import {name}" for name in modules), "x = run = None", call, ""]
    argv = [
        "ruff",
        "check",
        "--config",
        str(REPOSITORY / "pyproject.toml"),
        "--output-format=concise",
        "--no-cache",
    ]

    done = subprocess.run(
        [sys.executable, "-m", *argv, "--stdin-filename", f"{folder}/planted.py", "-"],
        cwd=REPOSITORY, input="\n".join(lines), capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert f" {rule} " in done.stdout


def test_no_shell_call_is_exempt() -> None:
    found = [
        f"{path}: {line}"
        for path in (REPOSITORY / "hpcdl").rglob("*.py")
        for line in path.read_text().splitlines()
        if "noqa" in line and any(rule in line for rule in ("S602", "S604", "S605", "TID251"))
    ]
    assert found == []
