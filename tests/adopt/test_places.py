"""What a place of a script decides: folders of cd, paths in containers, variables set before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpcdl.adopt import Adopted, adopt
from hpcdl.adopt.as_job import cluster_of, job_of
from hpcdl.batchscript.read import read_script

EXEC = "apptainer exec x.sif python"
BOMB = "".join(f"A{n + 1}=$A{n}$A{n}\n" for n in range(40))
CHAIN = "A0=$SCRATCH\n" + BOMB


@pytest.fixture
def adopted(tmp_path, monkeypatch):
    """Adopts a script of some commands, in a folder with train.py and src/train.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    for name in ("train.py", "src/train.py"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("print(1)\n")

    def make(commands: str) -> Adopted:
        Path("a.slurm").write_text(f"#!/bin/bash\n{commands}\n")
        return adopt(read_script(Path("a.slurm")))

    return make


def test_variable_with_a_whole_command(adopted):
    made = adopted('CMD="apptainer exec --nv /i/x.sif python -u"\n$CMD train.py 1').document.plain()

    assert (made["container"], made["script"], made["args"]) == ("/i/x.sif", "train.py", ["1"])


@pytest.mark.parametrize(
    ("lines", "script", "workdir"),
    [
        (f"cd src && {EXEC} train.py", "src/train.py", "src"),
        (f"(cd src && {EXEC} train.py)", "src/train.py", "src"),
        (f"(cd src; ls)\n{EXEC} train.py", "train.py", "."),
        (f"cd src || exit 1\npushd ..\n(cd src; {EXEC} train.py)\npopd", "src/train.py", "src"),
        (f"pushd src\n{EXEC} train.py\npopd", "src/train.py", "src"),
        (f"pushd src\npopd\n{EXEC} train.py", "train.py", "."),
        (f"cd src\ncd -\n{EXEC} train.py", "train.py", "."),
        (f"cd -\n{EXEC} train.py", None, None),
        (f"if x; then cd src; fi\n{EXEC} train.py", None, None),
        (f'if [ "$1" ]; then cd "$SLURM_SUBMIT_DIR"; fi\n{EXEC} train.py', "train.py", "."),
        (f"f() {{ cd src; {EXEC} train.py; }}\nf", "src/train.py", "src"),
        (f"D=$SCRATCH/a\ncd $D\nD=$SCRATCH/b\n{EXEC} t.py", "$SCRATCH/a/t.py", "$SCRATCH/a"),
        (f"srun --chdir=src {EXEC} train.py", "src/train.py", "src"),
        (f"cd src\nsrun -D /d {EXEC} t.py", "/d/t.py", "/d"),
        (f"srun --chdir=$(date) {EXEC} train.py", None, None),
        (f"env -C src {EXEC} train.py", "src/train.py", "src"),
    ],
)
def test_folder_where_the_program_starts(adopted, lines, script, workdir):
    made = adopted(lines)

    plain = made.document.plain()
    assert (plain.get("script"), plain.get("workdir")) == (script, workdir)
    assert bool(made.obstacles) == (script is None)


@pytest.mark.parametrize(
    ("options", "script", "workdir"),
    [
        ("--bind $PWD:/w:ro --pwd /w x.sif python /w/src/train.py", "src/train.py", "."),
        ("-B $(pwd)/src:/w --pwd /w x.sif python train.py", "src/train.py", "src"),
        ("-B `pwd`:/w x.sif python /w/train.py", "train.py", "."),
        ("--home $PWD:/root x.sif python /root/train.py", "train.py", "."),
        ("-B /p:/w,/q:/w/in --cwd /w/in x.sif python t.py", "/q/t.py", "/q"),
        ("-B $SCRATCH:/w x.sif python /w/t.py", "$SCRATCH/t.py", "."),
        ("-B $(date):/w x.sif python /w/t.py", None, None),
        ("x.sif python /workspace/t.py", None, None),
        ("--pwd /opt/app x.sif python t.py", None, None),
        ("x.sif python /gpfs/t.py", "/gpfs/t.py", "."),
    ],
)
def test_path_in_the_container(adopted, options, script, workdir):
    made = adopted(f"apptainer exec {options}")

    plain = made.document.plain()
    assert (plain.get("script"), plain.get("workdir")) == (script, workdir)
    assert bool(made.obstacles) == (script is None)


@pytest.mark.parametrize(
    ("lines", "folder"),
    [
        (f"cd src\nD=$PWD/d\n{EXEC} train.py $D", "HERE/src/d"),
        (f"cd src\nD=$(pwd)\ncd ..\n{EXEC} train.py $D", "HERE/src"),
        (f"cd src; {EXEC} train.py $PWD", "HERE/src"),
        (f"cd $SCRATCH/a\nD=$PWD\n{EXEC} t.py $D", "/scratch/me/a"),
        (f"cd src\ncd $PWD/in\n{EXEC} t.py $PWD", "HERE/src/in"),
        (f"run() {{ {EXEC} train.py $1; }}\ncd src\nrun $PWD", "HERE/src"),
        (f"D=$PWD; cd src; E=$PWD\n{EXEC} train.py $D", None),
        (f"cd src\n{EXEC} train.py $OLDPWD", None),
        (f"if x; then cd src; fi\nD=$PWD\ncd /\n{EXEC} t.py $D", None),
        (f"cd src\n{EXEC} train.py $HOSTNAME", None),
    ],
)
def test_working_directory_as_an_argument(adopted, monkeypatch, lines, folder):
    for name in ("PWD", "OLDPWD", "HOSTNAME"):
        monkeypatch.setenv(name, "/hpcdl's own")
    made = adopted(lines)

    args = made.document.plain().get("args")
    assert args == (None if folder is None else [folder.replace("HERE", os.getcwd())])
    assert bool([item for item in made.left if "script knows" in item.why]) == (folder is None)


def test_working_directory_of_chdir(adopted):
    made = adopted(f"#SBATCH --chdir=src\nexport PYTHONPATH=$PWD A=$PWD/a\n{EXEC} train.py")

    plain = made.document.plain()
    assert plain["env"] == {"A": f"{os.getcwd()}/src/a"}
    assert plain["pythonpath"] == [f"{os.getcwd()}/src"]


def test_bind_of_a_variable_before(adopted):
    made = adopted(f"export APPTAINER_BIND=/p:/w\n{EXEC} /w/t.py\nexport APPTAINER_BIND=/q:/w")

    plain = made.document.plain()
    assert (plain["script"], plain["cluster"]["binds"]) == ("/p/t.py", ["/p:/w"])


@pytest.mark.parametrize(
    ("option", "is_shown"),
    [("-e", True), ("-c", False), ("-C", False), ("--compat", False), ("-H /h", False)],
)
def test_home_that_the_container_shows(adopted, monkeypatch, option, is_shown):
    Path("home").mkdir()
    monkeypatch.setenv("HOME", os.path.abspath("home"))
    made = adopted(f"apptainer exec {option} x.sif python train.py")
    script = job_of(made)

    assert script is not None
    binds = cluster_of(made, script.job, None).binds
    assert (os.path.abspath("home") in binds) == is_shown


@pytest.mark.parametrize(
    ("lines", "env"),
    [
        (f"export A=1; {EXEC} train.py; export B=2", {"A": "1"}),
        (f"A=1\n{EXEC} train.py\nexport A", None),
        (f"A=1\nexport A\n{EXEC} train.py\nunset A", {"A": "1"}),
        (f"export A=1 B=2\nunset A\n{EXEC} train.py", {"B": "2"}),
        (f"(export A=1)\nexport B=2\n{EXEC} train.py", {"B": "2"}),
        (f"(export A=1; {EXEC} train.py)", {"A": "1"}),
        (f"run() {{ {EXEC} train.py; }}\nexport A=1\nrun\nexport B=2", {"A": "1"}),
        (f"set -a\nA=1\nset +a\n{EXEC} train.py\nexport APPTAINER_BIND=/none", {"A": "1"}),
    ],
)
def test_variables_set_before_the_program(adopted, lines, env):
    made = adopted(lines).document.plain()

    assert made.get("env") == env and "cluster" not in made


@pytest.mark.parametrize(
    ("word", "args"),
    [
        ("{a,b}.txt", []),
        ("x{1..3}", []),
        ('{"$SCRATCH",b}', []),
        ("'{a,b}'", ["--f", "{a,b}"]),
        ('"{a,b}"', ["--f", "{a,b}"]),
        ("{a}", ["--f", "{a}"]),
    ],
)
def test_braces_are_not_passed_on(adopted, word, args):
    made = adopted(f"{EXEC} train.py --f=1 --f {word}")

    assert made.document.plain()["args"] == ["--f=1", *args]
    assert bool(made.left) == (not args)


@pytest.mark.parametrize("lines", [f"A0=x\n{BOMB}", CHAIN])
def test_endless_values_are_left_out(adopted, lines):
    made = adopted(f"{lines}{EXEC} train.py $A40 1")

    assert made.document.plain()["args"] == ["1"] and made.left


def test_program_that_is_a_pipe(adopted):
    os.remove("train.py")
    os.mkfifo("train.py")

    assert adopted(f"{EXEC} train.py").document.plain()["script"] == "train.py"


@pytest.mark.parametrize("program", ['bash -c "$TRAIN"', "python - <<E\nprint(1)\nE", "./t"])
def test_image_without_a_script(adopted, program):
    made = adopted(f"apptainer exec /i/x.sif {program}")

    assert made.obstacles and made.document.plain()["container"] == "/i/x.sif"
