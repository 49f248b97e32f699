"""A job file that adopt writes loads again and gives back the script's texts; else adopt refuses."""

from __future__ import annotations

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
    *("\x1b[31m", "\u2028", "\ufeff", "...", "---", ","),
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
    assert load_job("a.yaml").script.endswith("/train.py")


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
