"""A variable's value is the one that bash has when the program starts, or it is not written."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hpcdl.adopt import adopt
from hpcdl.batchscript.read import read_script

RUN = 'apptainer exec "$IMG" python train.py --x "$X"'
SAYS = 'apptainer() { printf "%s\\n" "$2" "$6"; }\ncd /\n'  # the image, and the value of --x


@pytest.fixture
def adopted(tmp_path, monkeypatch):
    """Adopts a script in a folder with train.py."""
    monkeypatch.chdir(tmp_path)
    for name in ("IMG", "X", "Y"):
        monkeypatch.delenv(name, raising=False)
    Path("train.py").write_text("print(1)\n")

    def make(commands):
        Path("a.slurm").write_text(f"#!/bin/bash\n#SBATCH -c 4\n{commands}\n")
        return adopt(read_script(Path("a.slurm")))

    return make


@pytest.mark.parametrize(
    "lines",
    [
        f"train() {{\n  {RUN}; }}\nIMG=/a.sif\nX=1\ntrain",
        f"IMG=/old.sif\ntrain() {{\n  {RUN}; }}\nIMG=/a.sif\nX=1\ntrain\nIMG=/late.sif",
        f"X=$Y/a; IMG=/a.sif; {RUN}",
        f"Y=/y; X=$Y/a; IMG=/a.sif; {RUN}",
        f"main() {{ train; }}\ntrain() {{ {RUN}; }}\nX=1\nIMG=/a.sif\nmain",
        f"Y=1\nX=$Y\nY=2\nIMG=/a.sif\n{RUN}",
        f"Y=1\nX=$Y\nY=2\nexport X\nIMG=/a.sif\n{RUN}",
        f"train() {{ X=2; {RUN}; }}\nX=1\nIMG=/a.sif\ntrain",
        f"IMG=/a.sif\nX=1\nother() {{ local X=2; }}\nother\n{RUN}",
        f"IMG=/a.sif X=1\nnever() {{ X=2; }}\nX=3\n{RUN}",
        f"IMG=/a.sif\nX=1\n(X=2; read X < /dev/null)\n{RUN}",
        f"IMG=/a.sif\nX=1\n(( X == 4 )) || (( 3 < X ))\n{RUN}",
    ],
)
def test_values_are_those_of_bash(adopted, lines):
    done = subprocess.run(["bash"], input=SAYS + lines, capture_output=True, encoding="utf-8")
    image, value = done.stdout.splitlines()

    keys = adopted(lines).document.plain()

    assert keys["container"] == image
    # $Y is nobody's there: the running script alone knows it
    assert keys.get("args", ["--x", value]) == ["--x", value]
    assert ("args" in keys) == (value != "/a")


@pytest.mark.parametrize(
    "setting",
    [
        "read X < f",
        "read -r Y X < f",
        "(( X *= 4 ))",
        "(( X = X + 1 ))",
        "(( X++ ))",
        "let X=X+1",
        "let X++",
        'let "X = 5"',
        "for X in 7 8; do :; done",
        "for (( X = 0; X < 3; X++ )); do :; done",
        "while read X; do :; done < f",
        "printf -v X %s 3",
        "mapfile -t X < f",
        "getopts a: X",
        "setup() { X=2; }\nX=1\nsetup",
        "inner() { X=2; }\nsetup() { inner; }\nX=1\nsetup",
        "setup() { read X < f; }\nX=1\nsetup",
        "if true; then X=3; fi",
    ],
)
def test_values_that_change_are_not_written(adopted, setting):
    made = adopted(f"IMG=/a.sif\nexport X=1\n{setting}\n{RUN}")

    assert "args" not in made.document.plain()
    assert any('--x "$X"' in item.text for item in made.left)


def test_changed_variables_reach_no_environment(adopted):
    made = adopted(f"IMG=/a.sif\nexport X=1\nread X < f\n{RUN}")

    assert "env" not in made.document.plain()
    assert any("X=$X" in item.text for item in made.left)


def test_file_that_is_read_may_set_variables(adopted):
    made = adopted(f"IMG=/a.sif\nX=1\nsource conf.sh\n{RUN}\n. late.sh")

    assert [note for note in made.notes if "may set variables" in note] == [
        "line 5: conf.sh may set variables; those that the script sets are taken as they stand there"
    ]


def test_functions_without_end_are_read(adopted):
    made = adopted(f"a() {{ b; {RUN}; }}\nb() {{ a; }}\nIMG=/a.sif\nX=1\na")

    assert made.document.plain()["container"] == "/a.sif"
