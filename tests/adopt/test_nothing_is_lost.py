"""What a script does and its job does not is listed with its line; nothing goes without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcdl.adopt import Adopted, adopt
from hpcdl.batchscript.read import read_script

IMAGE = "apptainer exec --nv tf.sif"
RUN = f"{IMAGE} python train.py\n"


@pytest.fixture
def adopted(tmp_path, monkeypatch):
    """Adopts a script in a folder with train.py."""
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("print(1)\n")

    def make(commands: str, options: str = "-c 4 --gpus-per-node=1") -> Adopted:
        Path("a.slurm").write_text(f"#!/bin/bash\n#SBATCH {options}\n{commands}\n")
        return adopt(read_script(Path("a.slurm")))

    return make


def texts(made: Adopted) -> list[str]:
    return [f"line {item.line}: {item.text}" for item in made.left]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (f"srun --cpu-bind=none {RUN}", ["line 3: --cpu-bind=none"]),
        (f"B=x\nsrun --cpu-bind=$B -l {RUN}", ["line 4: --cpu-bind=$B", "line 4: --label"]),
        (f"srun -c 4 -n1 --gpus-per-node=1 --mpi=none {RUN}", []),
        (f"srun -c 2 -N 1 {RUN}", ["line 3: --cpus-per-task=2"]),
        (f"srun --export=NONE --output=x.log {RUN}", ["line 3: --export=NONE", "line 3: --output=x.log"]),
        (f"srun --container-image=x {RUN}", ["line 3: --container-image=x"]),
        (f"nice -n 5 timeout 23h {RUN}", ["line 3: nice -n 5", "line 3: timeout 23h"]),
        (f"time nohup {RUN}", []),
        (f"env -i -u A {RUN}", ["line 3: env -i", "line 3: env -u A"]),
        (f"$LAUNCHER {RUN}", [f"line 3: $LAUNCHER {RUN.strip()}"]),
        ("apptainer -q exec --nv tf.sif python train.py", []),
        (f"module use /x; module load a; {RUN}", ["line 3: module use /x"]),
        (f"ml a -cuda\n{RUN}", ["line 3: ml a -cuda"]),
        ("apptainer -d exec --nv tf.sif python train.py", ["line 3: apptainer -d"]),
        ("apptainer exec --nv --env-file=e tf.sif python train.py", ["line 3: --env-file=e"]),
        ("apptainer exec --nv -H /x --fakeroot tf.sif python train.py", ["line 3: --home=/x", "line 3: --fakeroot"]),
        ("apptainer run --nv tf.sif python train.py", ["line 3: apptainer run"]),
        (f"{IMAGE} /opt/env/bin/python train.py", ["line 3: /opt/env/bin/python"]),
        (f"{IMAGE} python3.9 -W ignore -u -OO train.py", ["line 3: python3.9", "line 3: -W ignore", "line 3: -OO"]),
        (f"{IMAGE} python train.py < in.txt", ["line 3: < in.txt"]),
        (f"{IMAGE} python train.py <<E\n5\nE", ["line 3: <<"]),
        (f"{IMAGE} python train.py <<< 5", ["line 3: <<<"]),
        (f"cat in.txt | {RUN}", ["line 3: cat in.txt", "line 3: apptainer exec --nv tf.sif python train.py"]),
        (f"`setup`\n{RUN}", ["line 3: `setup`"]),
        (f"$(setup)\n{RUN}", ["line 3: $(setup)"]),
        (f"./setup.sh $X\n{RUN}", ["line 3: ./setup.sh $X"]),
    ],
)  # fmt: skip
def test_what_a_job_does_not_do(adopted, command, expected):
    assert sorted(texts(adopted(command))) == sorted(expected)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-c 4 --gpus-per-node=1 b", "line 2: b"),
        ("-c 4 --gpus-per-node=1 --container-image=x", "line 2: --container-image=x"),
        ("-c 4 --gpus-per-node=1 --no-container-mount-home", "line 2: --no-container-mount-home"),
        ("-c 4 --gpus-per-node=1 --walltime=1", "line 2: --walltime=1"),
    ],
)
def test_words_of_directives_are_listed(adopted, options, expected):
    assert texts(adopted(RUN, options)) == [expected]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (f"env A=1 'B=two words' {RUN}", {"A": "1", "B": "two words"}),
        (f"{IMAGE} env A=1 python train.py", {"A": "1"}),
        (f"srun --export=ALL,A=1 {RUN}", {"A": "1"}),
        ("env A=1 apptainer exec --nv -e tf.sif env B=2 python train.py", {"B": "2"}),
        ("apptainer exec --nv --env A=1,2 tf.sif python train.py", {"A": "1,2"}),
        ("apptainer exec --nv --env A=1,B=2 tf.sif python train.py", {"A": "1", "B": "2"}),
        (f"A=1 APPTAINERENV_B=2 {RUN}", {"A": "1", "B": "2"}),
    ],
)
def test_variables_of_the_line_are_carried(adopted, command, expected):
    assert adopted(command).document.plain()["env"] == expected


@pytest.mark.parametrize(
    ("commands", "args", "left"),
    [
        ('run() { python train.py --a "$@"; }\nrun --n 5', ["--a", "--n", "5"], []),
        ('run() { python train.py --a $1 "$2"; }\nrun 5 "x y"', ["--a", "5", "x y"], []),
        ('run() { python train.py "$@"; }\nrun $(date)', [], ["$(date)"]),
        ('run() { shift; python train.py "$@"; }\nrun a --n 5', ["--n", "5"], []),
        ("run() { shift 2; shift; python train.py $1; }\nrun a b c d", ["d"], []),
        ('run() { shift 3; python train.py "$@"; }\nrun a b', ["a", "b"], []),
        ('run() { python train.py "$@"; shift; }\nrun a b', ["a", "b"], []),
        ('run() { if x; then shift; fi; python train.py "$@"; }\nrun a b', [], ['"$@"']),
        ("run() { shift $N; python train.py --a $1; }\nrun a b", [], ["--a $1"]),
        ('run() { shift; python train.py "$@"; }\nrun $MANY b', [], ['"$@"']),
        ('run() { shift; python train.py "$@"; }\nrun "$ONE" b', ["b"], []),
        ('run() { set -- x; python train.py "$@"; }\nrun a b', [], ['"$@"']),
        ('run() { set -e; python train.py "$@"; }\nrun a b', ["a", "b"], []),
        ('python train.py --a "$@"', ["--a"], ['"$@"']),
        ("python train.py --a $1 -v", ["-v"], ["--a $1"]),
    ],
)
def test_arguments_of_functions_are_those_of_the_call(adopted, commands, args, left):
    made = adopted(f"{commands}\n")
    ours = [item.text for item in made.left if item.fix.startswith("add it to args")]

    assert made.document.plain().get("args", []) == args
    assert ours == left


def test_script_arguments_are_sbatchs(adopted):
    made = adopted("python train.py --n $1\n")

    assert any("only sbatch knows this" in item.why for item in made.left)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("-p YOUR_PARTITION", "cluster: {partition: ...}"),
        ("--mail-user=<email>", "slurm: {mail-user: ...}"),
        ("-A $ACCOUNT", "cluster: {account: ...}"),
        ("-A project_xxxx", "cluster: {account: ...}"),
        ("--job-name=<name>", "write your own: name: ..."),
    ],
)
def test_placeholders_are_not_carried(adopted, option, words):
    made = adopted(RUN, f"-c 4 --gpus-per-node=1 {option}")

    assert [item.text for item in made.left] == [option]
    assert words in str(made.left[0])
    assert not {"cluster.partition", "slurm"} & set(made.document.plain())


@pytest.mark.parametrize(
    ("options", "events"),
    [
        ("--mail-type=begin\n#SBATCH --mail-type=end", "begin,end"),
        ("--mail-type=BEGIN,FAIL --mail-type=FAIL", "BEGIN,FAIL"),
        ("--mail-type=END --mail-type=none", "END"),
        ("--mail-type=END,none --mail-type=NONE", "NONE"),
    ],
)
def test_mail_events_add_up(adopted, options, events):
    made = adopted(RUN, f"-c 4 --gpus-per-node=1 {options}")

    assert made.document.plain()["slurm"] == {"mail-type": events}
    assert made.left == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--gpus-per-node=4", "gets 1, or what the site gives with a GPU"),
        ("--gpus-per-node=4 --exclusive", "gets the whole node, as --exclusive says"),
    ],
)
def test_cpus_that_nobody_asks_for(adopted, options, words):
    assert any(words in note for note in adopted(RUN, options).notes)


def test_range_of_nodes_is_named(adopted):
    made = adopted(RUN, "-N 2-4 -c 4")

    assert made.obstacles[0].fix.endswith("--nodes=1 in place of 2-4")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("pushd .\npopd", []),
        ("nvidia-smi --loop=10 > gpu.log &", ["line 3: nvidia-smi --loop=10 > gpu.log"]),
        ("echo a >> log.txt", ["line 3: echo a >> log.txt"]),
        ("echo a >&2\ndate > /dev/null 2>&1", []),
        ("time cp -r data /x", ["line 3: time cp -r data /x"]),
        ("command cp a b", ["line 3: command cp a b"]),
        ("env A=1 nice -n 5 mv a b", ["line 3: env A=1 nice -n 5 mv a b"]),
        ("time $CMD", ["line 3: time $CMD"]),
        ("time module load x", ["line 3: time module load x"]),
        ("time apptainer run prepare.sif", ["line 3: time apptainer run prepare.sif"]),
        ("srun apptainer run a.sif", ["line 3: srun apptainer run a.sif"]),
        ("command -v python\ntime date\nenv\nexec 2>&1\nsrun hostname", []),
        ("exec > log.txt", ["line 3: exec > log.txt"]),
        ("scontrol requeue $SLURM_JOB_ID", ["line 3: scontrol requeue $SLURM_JOB_ID"]),
        ("scontrol -o show job 1", []),
        ("cat > gen.txt <<E\nx\nE", ["line 3: cat > gen.txt"]),
        ("export HF_TOKEN=hf_x", ["line 3: HF_TOKEN=(hidden)"]),
    ],
)
def test_files_and_secrets_of_other_commands(adopted, command, expected):
    assert texts(adopted(f"{command}\n{RUN}")) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("export PYTHONPATH=/a\nexport PYTHONPATH=/b", ["/b"]),
        ("export PYTHONPATH=/a\nexport PYTHONPATH=/b:$PYTHONPATH", ["/b", "/a"]),
        ("export PYTHONPATH=/a\nexport PYTHONPATH=$PYTHONPATH:/b", ["/a", "/b"]),
    ],
)
def test_pythonpath_is_the_last_one(adopted, lines, expected):
    assert adopted(f"{lines}\n{RUN}").document.plain()["pythonpath"] == expected


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        (f"module load gcc\nmodule purge\nmodule load a b\n{RUN}", ["a", "b"]),
        (f"ml gcc\nml --force purge\n{RUN}", None),
        (f"module load a\n{RUN}module purge", ["a"]),
        (f"go() {{ {RUN}}}\nmodule load a\nmodule purge\nmodule load b\ngo", ["b"]),
        (f"go() {{ {RUN}}}\nmain() {{ go; }}\nmodule load b\nmain\nmodule purge", ["b"]),
    ],
)
def test_modules_after_a_purge(adopted, commands, expected):
    assert adopted(commands).document.plain()["cluster"].get("modules") == expected


@pytest.mark.parametrize("name", ["SINGULARITYENV_PREPEND_PATH", "APPTAINERENV_APPEND_PATH"])
def test_path_of_the_container_is_listed(adopted, name):
    made = adopted(f"export {name}=/opt/bin\n{RUN}")

    assert texts(made) == [f"line 3: {name}=/opt/bin"]
    assert "env" not in made.document.plain()


def test_variable_of_export_stays_exported(adopted):
    made = adopted(f"A=2\nB=3\n{RUN}", "-c 4 --gpus-per-node=1 --export=NONE,A=1")

    assert made.document.plain()["env"] == {"A": "2"}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (r'"$SCRATCH/\d+"', r"/scratch/me/\d+"),
        (r'"$SCRATCH\$x\"y\\"', '/scratch/me$x"y\\'),
        (r"$SCRATCH/\d+", "/scratch/me/d+"),
        ('"$SCRATCH/\\\na"', "/scratch/me/a"),
    ],
)
def test_backslash_beside_a_variable(adopted, monkeypatch, word, expected):
    monkeypatch.setenv("SCRATCH", "/scratch/me")

    assert adopted(f"{IMAGE} python train.py --re {word}").document.plain()["args"] == [
        "--re",
        expected,
    ]


@pytest.mark.parametrize("command", ["APPTAINER_NV=1 apptainer exec", "apptainer exec --nv"])
def test_gpus_in_the_container_need_no_note(adopted, command):
    notes = adopted(f"{command} tf.sif python train.py\n").notes

    assert not [note for note in notes if "--nv" in note]


@pytest.mark.parametrize(
    ("launcher", "nodes"),
    [
        ("srun -n1", 1),
        ("srun -N1", 1),
        ("srun -N 2 --ntasks-per-node=1", 2),
        ("srun -n2", 2),
        ("srun --ntasks=$SLURM_NNODES", None),
        ("srun", None),
    ],
)
def test_program_on_some_nodes_only(adopted, launcher, nodes):
    made = adopted(f"{launcher} {RUN}", "-N 3 -c 4")

    why = f"this starts on {nodes} of 3 nodes, and a job starts its program on each"
    assert [item.why for item in made.obstacles] == ([] if nodes is None else [why])
    assert nodes is None or f"--nodes={nodes} in" in made.obstacles[0].fix


def test_fewer_tasks_than_nodes(adopted):
    made = adopted(f"srun {RUN}", "-N 2 -n 1 -c 4")

    assert made.document.plain()["resources"]["nodes"] == 1 and not made.obstacles
    assert texts(made) == ["line 2: -n 1"]


def test_unknown_number_of_tasks(adopted):
    made = adopted(f"srun -n $(wc -l hosts) {RUN}")

    assert "line 3: --ntasks=$(wc -l hosts)" in texts(made)


def test_program_from_standard_input_is_named(adopted):
    made = adopted(f"{IMAGE} python - < train.py\n")

    assert made.obstacles[0].fix == "start that: python train.py"


def test_what_comes_after_the_program_is_said_so(adopted):
    made = adopted(f"{IMAGE} python train.py 2>&1\ncp a /b\n")

    assert [str(item) for item in made.left] == [
        "line 4: cp a /b: a job does nothing after its program; do it in the program, or by hand"
    ]


def test_instance_is_no_image(adopted):
    made = adopted("apptainer exec instance://tf python train.py\n")

    assert "container" not in made.document.plain()
    assert any("name the image of instance start" in item.fix for item in made.left)


def test_glued_options_keep_their_values(adopted):
    made = adopted('D=/data\nsrun -n1 -c4 apptainer exec "-B$D:/x" -B"$D" tf.sif python train.py\n')

    assert made.document.plain()["cluster"]["binds"] == ["/data:/x", "/data"]
    assert made.document.plain()["container"] == "tf.sif"


def test_many_modules_are_listed_once(adopted):
    made = adopted(f"module load a b a\nmodule load b c\n{RUN}")

    assert made.document.plain()["cluster"]["modules"] == ["a", "b", "c"]
