"""In which folder a program of a script starts: what bash says, or nothing where that is not certain."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from hpcdl.batchscript.folders import folder_at, script_path
from hpcdl.batchscript.read import read_script

STEPS = [
    *("cd a", "cd ..", "cd -", "cd $SLURM_SUBMIT_DIR", 'cd "$TOP/a"', "cd b || exit 1", "cd a/../b"),
    *("pushd a", "popd", "pushd ..", "pushd", "builtin cd b", "eval 'cd a'", "command cd a"),
    *("(cd a; @)", "(cd a && @)", "cd a && @", "cd b | @", "{ cd a; @; } &\nwait", "x=$(cd a; @)"),
    *("env -C a @", "env --chdir=a @", "env --chdir a @", "{ cd a; @; }", "( @; cd b; @ )", "@"),
    *("if true; then cd a; @; fi", "if ! cd b; then @; fi", "[ -d a ] && cd a", "false && cd b"),
    *("if false; then cd a; else cd b; @; fi", "case x in x) cd a;; y) @;; esac"),
    *("for i in 1 2; do cd a; @; done", "for i in 1; do (cd a; @); done", "while cd b; do @; break; done"),
    *("f() { cd a; @; }", "f() { @; }", "f() { (cd b; @); }", "f", "f; f", "(f)", "g() { f; @; }; g"),
    *("f() ( cd a; @ )", "g() { pushd a; @; popd; }; g"),
]  # fmt: skip
SEED, COUNT = 23, 120
BEFORE = 'pushd() { builtin pushd "$@" >/dev/null; }\npopd() { builtin popd "$@" >/dev/null; }\n'


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    """Folders a and b in each other, seven deep, and a program that tells where it starts."""
    folder = tmp_path_factory.mktemp("top")
    layer = [folder]
    for _ in range(7):
        layer = [parent / name for parent in layer for name in "ab"]
        for made in layer:
            made.mkdir()
    program = folder / "python"
    program.write_text('#!/bin/bash\necho "$1 $(pwd -P)" >> "$TOLD"\n')
    program.chmod(0o755)
    return folder


def scripts() -> list[str]:
    chance = random.Random(SEED)
    made = []
    for _ in range(COUNT):
        text = "\n".join([*chance.choices(STEPS, k=chance.randint(1, 5)), "@"])
        parts = text.split("@")
        made.append("".join(f"{part}python m{n}.py" for n, part in enumerate(parts[:-1])))
    return made


def of_bash(lines: str, start: Path, top: Path) -> dict[str, set[str]] | None:
    """Where bash starts each program; None where a cd of the script fails."""
    told = top / "told"
    told.write_text("")
    paths = f"{top}:{os.environ['PATH']}"
    env = {"PATH": paths, "TOLD": str(told), "TOP": str(top), "SLURM_SUBMIT_DIR": str(start)}
    done = subprocess.run(
        ["bash"], cwd=start, env=env, input=BEFORE + lines, capture_output=True, encoding="utf-8"
    )
    if done.stderr.strip():
        return None
    found: dict[str, set[str]] = {}
    for line in told.read_text(encoding="utf-8").splitlines():
        name, _, folder = line.partition(" ")
        found.setdefault(name, set()).add(folder)
    return found


def test_folders_are_those_of_bash(tmp_path, top):
    start = top / "a" / "b"
    path = tmp_path / "a.slurm"
    certain = 0
    for lines in scripts():
        truth = of_bash(lines, start, top)
        if truth is None:
            continue
        path.write_text(f"#!/bin/bash\n{lines}\n")
        script = read_script(path, outside={"TOP": str(top)})
        for program in script.programs:
            name = program.script.text if program.script is not None else None
            ours = folder_at(script, program.went, start)
            if name in truth and ours is not None:
                assert {os.path.realpath(ours)} == truth[name], f"{name} of\n{lines}"
                certain += 1
    assert certain > COUNT / 2


@pytest.mark.parametrize(
    ("lines", "path"),
    [
        ("srun --chdir=src python m.py", "src/m.py"),
        ("srun -D src python m.py", "src/m.py"),
        ("cd src\nsrun --chdir=/x python m.py", "/x/m.py"),
        ("srun --chdir=$1 python m.py", None),
        ("mpirun -wdir src python m.py", "src/m.py"),
        ("cd src\napptainer exec i.sif python m.py", "src/m.py"),
        ("apptainer exec --bind $PWD:/w --pwd /w i.sif python m.py", "m.py"),
        ("apptainer exec -B $(pwd)/src:/w:ro,/x i.sif python /w/a/m.py", "src/a/m.py"),
        ('cd src\napptainer exec -B "$PWD:/w" i.sif python /w/m.py', "src/m.py"),
        ("apptainer exec -B /p:/w,/q:/w/in i.sif python /w/in/m.py", "/q/m.py"),
        ("apptainer exec -B $1:/w i.sif python /w/m.py", None),
        ("apptainer exec --home $PWD:/root i.sif python /root/m.py", "m.py"),
        ("apptainer exec i.sif python /workspace/m.py", None),
        ("apptainer exec --pwd /opt/x i.sif python m.py", None),
        ("apptainer exec i.sif python /gpfs/m.py", "/gpfs/m.py"),
        ("f() { python m.py; }\ncd src\nf", "src/m.py"),
        ("f() { python m.py; }\nf\ncd src\nf", None),
    ],
)
def test_file_of_a_program(tmp_path, lines, path):
    batch = tmp_path / "a.slurm"
    batch.write_text(f"#!/bin/bash\n{lines}\n")
    script = read_script(batch)

    found = [script_path(script, program, tmp_path) for program in script.programs]

    assert path is None or tmp_path / path in found
    assert path is not None or not any(found)
