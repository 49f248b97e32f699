"""A program that bash -c starts is the job's, with what its shell sets; the rest is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcdl.adopt import Adopted, adopt
from hpcdl.batchscript.read import read_script

EXEC = "apptainer exec --nv i.sif"


@pytest.fixture
def adopted(tmp_path, monkeypatch):
    """Adopts a script in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OURS", "shell's")

    def make(commands: str, options: str = "-c 4 --gpus-per-node=1") -> Adopted:
        Path("a.slurm").write_text(f"#!/bin/bash\n#SBATCH {options}\n{commands}\n")
        return adopt(read_script(Path("a.slurm")))

    return make


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        (f"{EXEC} bash -c 'python x.py --n 3'", {"script": "x.py", "args": ["--n", "3"]}),
        (f"srun {EXEC} sh -c 'python x.py'", {"script": "x.py", "container": "i.sif"}),
        (f"A=1; {EXEC} bash -c \"python x.py $A\"", {"args": ["1"]}),
        (f"A=1; {EXEC} bash -c 'python x.py $A'", {"args": None}),
        (f"export A=$OURS; {EXEC} bash -c 'python x.py \"$A\"'", {"args": ["shell's"]}),
        (f"{EXEC} bash -c 'python x.py \"$OURS\"'", {"args": ["shell's"]}),
        (f"{EXEC} -e bash -c 'python x.py $OURS'".replace("i.sif -e", "-e i.sif"), {"args": None}),
        (f"export N=$SLURM_CPUS_PER_TASK\n{EXEC} bash -c 'python x.py $N'", {"args": ["4"]}),
        (f"I=i.sif; {EXEC[:-5]}$I bash -c 'I=2; python x.py $I'", {"container": "i.sif", "args": ["2"]}),
        (f"I=$OURS; {EXEC[:-5]}/$I bash -c 'I=$1; python x.py $I'", {"container": "/$OURS", "args": None}),
        (f"{EXEC} bash -c 'export A=1; B=2 python x.py'", {"env": {"A": "1", "B": "2"}}),
        ("apptainer exec --nv -e i.sif bash -c 'export A=1; B=2 python x.py'", {"env": {"A": "1", "B": "2"}}),
        (f"A=1 {EXEC} bash -c 'python x.py'", {"env": {"A": "1"}}),
        (f"export A=1; {EXEC} bash -c 'A=2; python x.py'", {"env": {"A": "2"}}),
        (f"cd a; {EXEC} bash -c 'cd b; python x.py'", {"script": "a/b/x.py", "workdir": "a/b"}),
        ("apptainer exec -B /d:/w i.sif bash -c 'cd /w/b; python x.py'", {"script": "/d/b/x.py", "workdir": "/d/b"}),
        ("apptainer exec -B /d:/w --pwd /w i.sif bash -c 'cd b; python x.py'", {"script": "/d/b/x.py", "workdir": "/d/b"}),
        ("apptainer exec -H /d:/home/u i.sif bash -c 'cd ~/s; python ~/s/x.py'", {"script": "/d/s/x.py", "workdir": "/d/s"}),
        ("apptainer exec -H /d:/home/u i.sif bash -c 'cd ~; python s/x.py'", {"script": "/d/s/x.py", "workdir": "/d"}),
        ("apptainer exec --home /d i.sif bash -c 'python ~/x.py'", {"script": "/d/x.py"}),
        ("bash -c 'cd b; apptainer exec i.sif python x.py'", {"script": "b/x.py", "container": "b/i.sif"}),
        (f"{EXEC} bash -c 'python \"$@\"' _ x.py --n 3", {"script": "x.py", "args": ["--n", "3"]}),
        (f"f() {{ {EXEC} bash -c 'python x.py \"$@\"' _ \"$@\"; }}; f --n 3", {"args": ["--n", "3"]}),
        (f"f() {{ {EXEC} bash -c 'python x.py $1'; }}; f --n 3", {"args": None}),
        ("bash -c 'module load a; apptainer exec i.sif python x.py'", {"cluster": {"gpu_request": "gpus-per-node", "modules": ["a"]}}),
    ],
)  # fmt: skip
def test_inner_program_is_the_jobs(adopted, commands, expected):
    made = adopted(commands)
    document = made.document.plain()

    assert {key: document.get(key) for key in expected} == expected
    assert made.obstacles == []


@pytest.mark.parametrize(
    "command",
    [
        "apptainer exec -H /d:/home/u i.sif python ~/x.py",  # the script's own shell reads this ~
        f"{EXEC} bash -c 'cd ~; python x.py'",
    ],
)
def test_home_that_is_the_users_own(adopted, command):
    assert adopted(command).document.plain()["script"] == str(Path.home() / "x.py")


@pytest.mark.parametrize(
    ("commands", "value"),
    [
        (f"export SINGULARITYENV_B=5; export B=1; {EXEC} bash -c 'python x.py $B'", "5"),
        (f"export APPTAINERENV_B=5; B=1 {EXEC} python x.py 5", "5"),
        (f"export APPTAINERENV_B=5; env B=1 {EXEC} python x.py 5", "5"),
        (f"export APPTAINERENV_B=5; srun --export=ALL,B=1 {EXEC} python x.py 5", "5"),
        ("B=1 apptainer exec --env B=5 i.sif python x.py 5", "5"),
        (f"export APPTAINERENV_B=5; {EXEC} env B=2 python x.py 5", "2"),
        ("apptainer exec --env B=5 i.sif bash -c 'export B=2; python x.py 5'", "2"),
        ("export APPTAINERENV_B=5; export B=1; python x.py 5", "1"),
        (f"export B=1; export B=$(date); {EXEC} python x.py 5", None),
    ],
)
def test_variable_closest_to_the_program_counts(adopted, commands, value):
    made = adopted(commands).document.plain()

    assert made.get("env", {}).get("B") == value
    assert made["args"] == ["5"]


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        (f"{EXEC} bash -c 'pip install a\n\npython x.py'", ["line 3: pip install a"]),
        (f"{EXEC} bash -lc 'python x.py' > o.txt", ["line 3: > o.txt", "line 3: bash -lc"]),
        (f"{EXEC} bash -c 'set -e; mkdir o\npython x.py > o/1' | tee l", ["line 3: mkdir o", "line 4: tee l", "line 4: > o/1", "line 3: PIPE"]),
        (f"{EXEC} bash -c '\nmodule load a\npython x.py'", ["line 4: module load a"]),
        (f"A=1; {EXEC} bash -c 'python x.py $A $(date)'", ["line 3: $A", "line 3: $(date)"]),
        (f"{EXEC} python x.py; bash -c \"rm $(ls)\"", ["line 3: bash -c \"rm $(ls)\""]),
        ("apptainer exec --pid --nv i.sif \\\n bash -c '\npython x.py'", ["line 3: --pid"]),
    ],
)  # fmt: skip
def test_what_inner_shells_do_besides(adopted, commands, expected):
    made = adopted(commands)
    listed = {f"line {item.line}: {item.text}" for item in made.left}
    pipes = {f"line {item.line}: PIPE" for item in made.left if "into no pipe" in item.why}
    named = {text for text in listed if text in expected} | pipes

    assert made.obstacles == []
    assert named == set(expected)
    assert len(made.left) == len(expected)


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        (f"{EXEC} bash -c 'python a.py\npython b.py'", "line 4 starts another one"),
        (f"{EXEC} bash -c \"python x.py $(date)\"", "only the running script knows this text, for $(date)"),
        (f"{EXEC} bash -c 'for i in 1 2; do python x.py; done'", "this line is in a loop"),
        (f"{EXEC} bash -c 'cd \"$1\"; python x.py'", "the running script alone"),
        (f"for i in 1 2; do {EXEC} bash -c 'python x.py'; done", "this line is in a loop"),
    ],
)  # fmt: skip
def test_inner_programs_that_are_no_job(adopted, commands, words):
    assert words in str(adopted(commands).obstacles[0])
