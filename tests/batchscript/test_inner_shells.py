"""The text behind bash -c is read as bash reads it: its quotes, its variables, its lines."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hpcdl.batchscript.findings import Surroundings, findings
from hpcdl.batchscript.folders import script_path
from hpcdl.batchscript.model import BatchScript, Program
from hpcdl.batchscript.read import read_script

H = "#!/bin/bash\n#SBATCH --account=nct00\n#SBATCH --time=00:10:00\n"
G = H + "#SBATCH --gres=gpu:1\n#SBATCH --cpus-per-task=8\n"


def read(folder: Path, text: str) -> BatchScript:
    path = folder / "a.slurm"
    path.write_text(text)
    return read_script(path, outside={"HOME": str(folder)})


def pythons(script: BatchScript) -> list[Program]:
    return [program for program in script.programs if program.python is not None]


@pytest.mark.parametrize(
    "commands",
    [
        "bash -c 'python x.py --a 1'",
        "A=1; bash -c \"python x.py $A '$A' \\$A\"",
        "export A=1; bash -c 'python x.py $A \"$A\" '\"'$A'\"",
        "A='1  2'; bash -c \"python x.py $A\"",
        "export A='1  2'; bash -c 'python x.py $A \"$A\"'",
        "A=3 bash -c 'python x.py $A'; bash -c 'python y.py $A'",
        "env B=3 bash -c 'python x.py $B'",
        "export A=1; env -u A bash -c 'python x.py \"$A\"'",
        "export A=1; env -i PATH=\"$PATH\" bash -c 'python x.py \"$A\"'",
        "export A=1; A=2; (export A=3); bash -c 'python x.py $A'",
        "(export A=1; true); A=2; bash -c 'python x.py \"$A\"'",
        "sh -c 'python x.py \"$@\" \"$1\"' _ 5 'a b'",
        "bash -c 'shift; python x.py $1' _ 5 6",
        "bash -c 'python \"$0\" $2' x.py 1 2",
        "bash -euo pipefail -c 'cd sub && python x.py'",
        "cd sub; bash -c 'cd ..; python x.py'; python y.py",
        "bash --norc -c 'export C=$HOME/x; bash -c \"python x.py \\$C $C\"'",
        "bash -c $'python x.py \\'a b\\''",
        "C='python x.py'; bash -c \"$C --z 1\"",
        "C='python x.py'; bash -c $C",
        "for i in 1 2; do A=$i; bash -c 'python x.py '3; done",
        "bash -c 'A=1; B=$A; python x.py $B; A=2'; python y.py \"$A\"",
        "bash -c \"cd sub && \\\n  python x.py \\\n  --a 1\"",
        "bash -c 'python x.py' & wait; bash -c 'exit 1; python y.py' ; true",
        "f() { bash -c 'python x.py $1' _ 7; }; f 8",
        "bash -nc 'python x.py'; echo bash -c 'python y.py'",
        "env B=6 bash -c 'B=1; bash -c \"python x.py \\$B\"'",
        "bash -c 'for x in 1; do python x.py $x; done > out'",
    ],
)  # fmt: skip
def test_inner_commands_are_bashs(tmp_path, commands):
    """Real bash runs a python that writes down its arguments; what we know of them is the same."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "bin").mkdir()
    stub = tmp_path / "bin" / "python"
    said = tmp_path / "said"
    stub.write_text(f'#!/bin/sh\n{{ pwd; for a; do echo "$a"; done; echo END; }} >> {said}\n')
    stub.chmod(0o755)
    script = read(tmp_path, f"#!/bin/bash\n{commands}\n")
    path = f"{stub.parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(tmp_path)}
    subprocess.run(["bash", "a.slurm"], cwd=tmp_path, env=environment, check=True)
    runs = said.read_text().split("END\n")[:-1] if said.exists() else []
    theirs = {tuple(run.splitlines()) for run in runs}

    ours = pythons(script)
    if "exit" not in commands:
        assert (len(ours) > 0) == (len(theirs) > 0)
    known = set()
    for program in ours:
        words = [word.text for word in program.words[1:]]
        if None in words or program.went is None:
            continue
        folder = tmp_path
        for word in program.went:
            folder = folder / (word.text or "?")
        known.add((os.path.normpath(folder), *map(str, words)))
    never = {run for run in known if "y.py" in run and "exit" in commands}

    assert known - never <= theirs


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        ("A=1; bash -c 'python x.py $A'", ["x.py", None]),
        ("export A=1; bash -c 'python x.py $A'", ["x.py", "1"]),
        ("A=1; bash -c \"python x.py $A\"", ["x.py", "1"]),
        ("A=1 bash -lc 'python x.py $A'", ["x.py", "1"]),
        ("export A=1; srun --export=NONE bash -c 'python x.py $A'", ["x.py", None]),
        ("srun --export=ALL,A=1 bash -c 'python x.py $A'", ["x.py", "1"]),
        ("export A=1; apptainer exec i.sif bash -c 'python x.py $A $PATH'", ["x.py", "1", None]),
        ("export A=1; apptainer exec -e i.sif bash -c 'python x.py $A'", ["x.py", None]),
        ("export APPTAINERENV_A=1; apptainer exec -e i.sif bash -c 'python x.py $A'", ["x.py", "1"]),
        ("apptainer exec --env A=1 i.sif bash -c 'python x.py $A'", ["x.py", "1"]),
        ("apptainer exec i.sif sh -c 'python x.py \"$@\"' _ --n 3", ["x.py", "--n", "3"]),
        ("export A=1; apptainer exec -H /h i.sif bash -c 'python ~/x.py $A'", [None, "1"]),
    ],
)  # fmt: skip
def test_variables_that_reach_the_shell(tmp_path, commands, words):
    (program,) = pythons(read(tmp_path, f"{H}{commands}\n"))

    assert [word.text for word in program.words[1:]] == words


@pytest.mark.parametrize(
    "commands",
    [
        'bash -c "python x.py $(date)"',
        'bash -c "$COMMAND"',
        'for i in 1 2; do bash -c "python x.py $i"; done',
        "bash -c 'f() { python x.py; }; f'",
        "go() { python -V; }; export -f go; bash -c 'go; python x.py'",
        "bash -c 'if then python x.py'",
        "bash x.sh -c 'python x.py'",
        "bash -s -- 'python x.py'",
    ],
)
def test_what_is_not_clear_is_not_read(tmp_path, commands):
    script = read(tmp_path, f"{H}{commands}\n")

    assert not [program for program in pythons(script) if program.script is not None]
    assert not any(command.is_read for command in script.commands)


def test_lines_are_the_scripts(tmp_path):
    script = read(
        tmp_path,
        H + "A=x\nsrun bash -c \"echo $A && \\\n  python a.py \\\n  && python b.py '1\n2'\n"
        "python c.py\" && bash -c '\n\n python d.py'\npython e.py\n",
    )

    places = {str(p.script and p.script.text): p.command.line for p in pythons(script)}
    assert places == {"a.py": 6, "b.py": 7, "c.py": 9, "d.py": 11, "e.py": 12}


def test_what_is_in_front_of_the_shell(tmp_path):
    text = "srun -n1 apptainer exec --nv -B /d:/data i.sif bash -c 'cd /data; exec python x.py'\n"
    (program,) = pythons(read(tmp_path, H + text))

    assert [launcher.name for launcher in program.launchers] == ["srun"]
    assert program.container and program.container.has("nv")
    assert script_path(read(tmp_path, H + text), program, tmp_path) == Path("/d/x.py")


def codes(folder: Path, text: str) -> list[tuple[str, int]]:
    around = Surroundings(slurm_version=(22, 5), home=folder, folder=folder)
    return [(finding.code, finding.line) for finding in findings(read(folder, text), around)]


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ("singularity exec --no-home a.sif \\\n  bash -c 'cd x\npython x.py\npython y.py'", [("gpus-without-nv", 6)]),
        ("singularity exec --no-home a.sif bash -c 'ls /data'", []),
        ("srun bash -c 'hostname; date'", []),
        ("srun bash -c 'hostname\npython x.py'", [("srun-cpus", 6)]),
        ("bash -c 'cd /tmp/mine\npython x.py'", [("login-folder", 6)]),
        ("singularity exec --nv --no-home a.sif bash -c 'cd /tmp/mine; python x.py'", []),
        ("bash -c '\nexport CUDA_VISIBLE_DEVICES=3\npython x.py'", [("cuda-visible-devices", 7)]),
        ("bash -c 'CUDA_VISIBLE_DEVICES=3 python x.py' & wait", []),
        ("srun -c8 bash -c 'CUDA_VISIBLE_DEVICES=$SLURM_LOCALID python x.py'", []),
        ("bash -c 'singularity exec --nv --no-home docker://a/b:1 \\\n python x.py'", [("docker-at-run-time", 6)]),
        ("bash -c 'srun -c8 -n 4 python x.py'", [("tasks-started", 6)]),
        ("bash -c 'python x.py \\ \n  --epochs 3'", [("torn-line", 7)]),
        ("export OUT=/x; bash -c \"echo '$OUT' # it's\n\"", []),
    ],
)  # fmt: skip
def test_findings_of_inner_commands(tmp_path, commands, expected):
    assert codes(tmp_path, f"{G}{commands}\n") == expected


def test_inner_trap_is_not_the_scripts(tmp_path):
    text = f"{H}#SBATCH --signal=B:USR1@60\nbash -c 'trap stop USR1; python x.py'\n"

    assert [code for code, _ in codes(tmp_path, text)] == ["signal-untrapped"]


def test_inner_variables_may_be_the_images(tmp_path):
    """--export=NONE: what only the container's shell uses need not be the script's."""
    text = f"{H}#SBATCH --export=NONE\napptainer exec a.sif bash -c 'echo $OF_IMAGE'\n"

    assert codes(tmp_path, text) == []


@pytest.mark.parametrize(
    ("commands", "line"),
    [
        ("srun bash -c \"bash -c 'cd a && python x.py'\"", 4),
        ("srun bash -c \"true\ntrue; bash -c 'cd a\npython x.py'\"", 6),
        ("srun bash -c \"true; \\\n  bash -c 'python x.py'\"", 5),
        ('srun bash -c "true\n  bash -c \'true\n bash -c \\"\npython x.py\\"\'"', 7),
    ],
)
def test_lines_of_shells_within_shells(tmp_path, commands, line):
    (program,) = pythons(read(tmp_path, f"{H}{commands}\n"))

    assert program.command.line == line
