"""Each script of the corpus is told exactly what is expected of it, and a good one nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from hpcdl.batchscript.findings import Surroundings, findings
from hpcdl.batchscript.read import read_script

CORPUS = Path(__file__).with_name("corpus")
EXPECTED = json.loads((CORPUS / "expected.json").read_text())
GOOD = [name for name, expected in EXPECTED.items() if not expected]
CODES = {
    *("torn-path", "gpus-without-nv", "nv-without-gpus", "srun-cpus", "output-folder", "mem-twice"),
    *("docker-at-run-time", "shadowing-home", "no-checkpoint", "export-lost", "login-folder"),
    *("cuda-visible-devices", "gpus-per-task-mirrored", "tasks-started", "late-directive"),
    *("unknown-option", "contradiction", "placeholder"),
}


def told(script: Path, home: Path) -> list[dict[str, object]]:
    around = Surroundings(slurm_version=(22, 5), home=home, folder=script.parent)
    said = findings(read_script(script), around)
    rows = [{"code": one.code, "line": one.line} for one in said]
    return sorted(rows, key=lambda row: (row["line"], row["code"]))


def test_corpus_is_complete():
    """40 scripts, 20 good ones, and of each finding one that has it."""
    files = {path.name for path in CORPUS.iterdir() if path.is_file()} - {"expected.json"}
    found = {one["code"] for expected in EXPECTED.values() for one in expected}

    assert files == set(EXPECTED)
    assert (len(EXPECTED), len(GOOD)) == (40, 20)
    assert found == CODES


@pytest.mark.parametrize("name", EXPECTED)
def test_corpus_findings_are_exact(tmp_path, name):
    assert told(CORPUS / name, tmp_path) == EXPECTED[name]


def test_each_finding_says_what_to_do():
    """A cause, a remedy, and a line that the script has."""
    for name in EXPECTED:
        script = read_script(CORPUS / name)
        for one in findings(script, Surroundings((22, 5), folder=CORPUS)):
            assert one.cause and one.fix, (name, one)
            assert script.line(one.line).strip(), (name, one)


@pytest.mark.parametrize("name", GOOD)
def test_bash_accepts_good_scripts(name):
    done = subprocess.run(["bash", "-n", CORPUS / name], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
