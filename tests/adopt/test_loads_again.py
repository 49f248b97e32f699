"""A job file that adopt writes loads again and gives back the script's texts; else adopt refuses."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from hpcdl.job import load_job

HOSTILE = (
    *(
        "yes",
        "null",
        "~",
        "1e3",
        "0x10",
        "012",
        "12:30:00",
        "a: b",
        "- x",
        "{a}",
        "[b]",
        "*x",
        "&y",
    ),
    *(
        "!t",
        "%z",
        "@q",
        "",
        " lead",
        "tab\tx",
        "new\nline",
        "back\\slash",
        'quo"te',
        "=",
        "#c",
        "é😀",
    ),
    *("\x1b[31m", "\u2028", "\x7f", "\x85", "\U000e0001", "\ufeff", "...", "---", ","),
)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a.slurm of some bytes, in a folder with train.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMG", raising=False)
    Path("train.py").write_text("print(1)\n")

    def write(text: str, options: str = "", encoding: str = "utf-8") -> None:
        lines = f"#!/bin/bash\n#SBATCH -c 4 {options}\n{text}\n"
        Path("a.slurm").write_bytes(lines.encode(encoding))

    return write


def test_arguments_come_back_as_they_are(cli, written):
    quoted = " ".join(f"'{text}'" for text in HOSTILE)
    written(f"apptainer exec /x.sif python train.py {quoted}")
    answer = cli("adopt", "a.slurm", "-o", "a.yaml")

    assert answer.code == 0, answer.err
    assert load_job("a.yaml").args == list(HOSTILE)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("python train.py --name 'café'", 3),
        ("export A='café'\npython train.py", 3),
        ("apptainer exec /café.sif python train.py", 3),
    ],
)
def test_text_that_is_not_utf8_is_refused(cli, written, text, line):
    written(text, encoding="latin-1")
    answer = cli("adopt", "a.slurm", "-o", "a.yaml")

    assert (answer.code, answer.out) == (2, "")
    assert f"a.slurm:{line}: " in answer.err
    assert "is not UTF-8 text, as a job file is; iconv -f ISO-8859-1" in answer.err
    assert not Path("a.yaml").exists()


def test_foreign_bytes_elsewhere_do_no_harm(cli, written):
    written("# café\nécho café\npython train.py", encoding="latin-1")
    answer = cli("adopt", "a.slurm", "-o", "a.yaml")

    assert answer.code == 0, answer.err
    assert (load_job("a.yaml").script or "").endswith("/train.py")


def test_foreign_bytes_break_no_check(cli, written):
    written("X='/a é'\nls $X/b é\npython train.py --name 'café'", encoding="latin-1")
    answer = cli("check", "a.slurm")

    assert "a on this cluster" in answer.out
    assert answer.code in (0, 1)


def test_folder_that_only_a_shell_makes(cli, written):
    """sbatch takes --chdir as it is, and no job file could."""
    written("python train.py", "--chdir=$(pwd)")
    answer = cli("adopt", "a.slurm")

    assert (answer.code, answer.out) == (2, "")
    assert "a.slurm:3: script: $( is for a shell, and no shell reads this" in answer.err


def test_missing_program_is_said(cli, written):
    """It may be there where the job is sent."""
    written("python src/train.py")
    answer = cli("adopt", "a.slurm", "-o", "a.yaml")

    assert answer.code == 0
    assert "src/train.py; the job needs it when it is sent" in answer.err


def test_variable_that_nobody_sets(cli, written):
    written("IMG = /x.sif\napptainer exec $IMG python train.py")
    adopted = cli("adopt", "a.slurm", "-o", "a.yaml")
    checked = cli("check", "a.slurm")

    assert "$IMG is set neither by the script nor in this shell" in adopted.err
    assert "container: $IMG\n" in Path("a.yaml").read_text().replace('"', "")
    assert "a on this cluster" in checked.out


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("python train.py --seed $SLURM_ARRAY_TASK_ID -v", ["--seed", "3", "-v"]),
        ("S=s-$SLURM_ARRAY_TASK_ID\npython train.py --out=$S", ["--out=s-3"]),
        ("python train.py 'it''s' \"a 'b' $SLURM_ARRAY_TASK_ID\"", ["its", "a 'b' 3"]),
        ("python train.py", []),
    ],
)
def test_loop_for_array_sends_its_tasks(cli, written, text, args):
    """The loop that is printed, run by bash, gives the job of index 3 what its task has."""
    written(text, "--array=1-5:2,9%2")
    cli("adopt", "a.slurm", "-o", "a.yaml")
    told = re.sub(r"\s*\n#\s+", " ", Path("a.yaml").read_text())
    loop = re.search(r"for n in .*?; done", told)
    Path("words").write_text("import shlex, sys\nprint(shlex.join(sys.argv[1:]))\n")
    command = f'hpcdl() {{ python3 words "$@"; }}; {loop[0] if loop else ""}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, encoding="utf-8")
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    job = load_job("a.yaml", [word for word in lines[1] if "=" in word and word != "--set"])

    assert len(lines) == 4, done.stderr
    assert lines[1][:2] == ["submit", "JOB.yaml"]
    assert job.args == args
    assert job.env["SLURM_ARRAY_TASK_ID"] == "3"
