"""What of a batch script becomes which key of a job, and what is left, with its line and a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpcdl.adopt import Adopted, adopt
from hpcdl.adopt.job_text import job_text
from hpcdl.batchscript.read import read_script
from hpcdl.job import load_job

RUN = "module load singularity\nsingularity exec --nv tf.sif python train.py --epochs 3\n"


@pytest.fixture
def adopted(tmp_path, monkeypatch):
    """Adopts a script of some #SBATCH lines and commands, in a folder with train.py."""
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("print(1)\n")

    def make(options: str, commands: str = RUN) -> Adopted:
        lines = "".join(f"#SBATCH {line}\n" for line in options.splitlines())
        Path("a.slurm").write_text(f"#!/bin/bash\n{lines}{commands}")
        return adopt(read_script(Path("a.slurm")))

    return make


def keys(made: Adopted) -> dict[str, object]:
    """All keys of the job file, with their values."""
    flat: dict[str, object] = {}
    for key, value in made.document.plain().items():
        if isinstance(value, dict):
            flat.update({f"{key}.{name}": inner for name, inner in value.items()})
        else:
            flat[key] = value
    return flat


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-t 30", {"resources.time": "00:30:00"}),
        ("-t 1-12", {"resources.time": "1-12:00:00"}),
        ("-G 2", {"resources.gpus": 2, "cluster.gpu_request": "gpus-per-node"}),
        ("-N 2\n--gpus=8", {"resources.nodes": 2, "resources.gpus": 4}),
        ("--nodes=2-4", {"resources.nodes": "2-4"}),
        ("--gres=gpu:a100:2", {"resources.gpus": 2, "cluster.gpu_type": "a100"}),
        ("--gres=gpu", {"resources.gpus": 1, "cluster.gpu_request": "gres"}),
        ("--gpus-per-node=a100", {"resources.gpus": 1, "cluster.gpu_type": "a100"}),
        ("--gres=gpu=2", {"resources.gpus": 2, "cluster.scratch_gres": None}),
        ("--gres=gres/gpu:1", {"resources.gpus": 1, "cluster.scratch_gres": None}),
        ("--gres=gpu:1g.5gb:1", {"resources.gpus": 1, "cluster.gpu_type": "1g.5gb"}),
        ("--mem=2048000K -c 1", {"resources.memory_gb": 1.953125}),
        ("--gres=gpu:1,tmp:50G", {"cluster.scratch_gres": "tmp:50G", "resources.gpus": 1}),
        ("-n 1 --gpus-per-task=v100:2", {"resources.gpus": 2, "cluster.gpu_type": "v100"}),
        ("-n 1\n-c 4\n--mem-per-cpu=2G", {"resources.cpus": 4, "resources.memory_gb": 8}),
        ("-c 3\n--mem-per-cpu=4000", {"resources.memory_gb": 3 * 4000 / 1024}),
        ("-G 2\n--mem-per-gpu=60G", {"resources.memory_gb": 120}),
        ("-G 2\n--cpus-per-gpu=8", {"resources.cpus": 16}),
        ("--ntasks=4\n-c 2", {"resources.cpus": 8}),
        ("", {"resources.gpus": 0, "resources.cpus": 1}),
        ("-J 'my job'", {"name": "my-job"}),
        ("-A nct00 -p acc -q debug -M east", {"cluster.account": "nct00", "cluster.clusters": "east"}),
        ("--no-requeue", {"cluster.requeue": False}),
        ("--signal=USR1@120", {"stop_signal": "USR1", "cluster.signal_lead_s": 120}),
        ("--export=NONE,A=b", {"env.A": "b"}),
        ("-C h100 --exclusive -x node1", {"slurm.constraint": "h100", "slurm.exclusive": True}),
        ("--begin=now+1hour --nice=10", {"slurm.begin": "now+1hour", "slurm.nice": "10"}),
        ("-D /opt", {"workdir": "/opt", "script": "/opt/train.py", "container": "/opt/tf.sif"}),
    ],
)  # fmt: skip
def test_options_become_keys(adopted, options, expected):
    made = keys(adopted(options))

    assert {key: made.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("options", "line", "words"),
    [
        ("-o a.out", 2, "the log is logs/1.log in the run's folder"),
        ("-A <project>", 2, "is a placeholder; write your own: cluster: {account: ...}"),
        ("-A 'two words'", 2, "is not one plain word"),
        ("-t UNLIMITED", 2, "a job has an end"),
        ("--mem=0", 2, "0 is all that a node has; say resources.memory_gb"),
        ("--mem=lots", 2, "is no amount of memory; write --mem=64G"),
        ("--gres=gpu:a100:1,gpu:v100:1", 2, "of one type"),
        ("--gpus=a100:1,v100:2", 2, "is no number of GPUs"),
        ("-N 2\n--gpus=3", 3, "do not share 2 nodes evenly; write --gpus-per-node=N"),
        ("-G 2\n--gres=gpu:1", 2, "asks for other GPUs"),
        ("--signal=B:USR1@60", 2, "which makes the stop file"),
        ("--signal=TERM@60", 2, "passes USR1 or USR2 on"),
        ("--export=ALL,A=b", 2, "no variable of your shell: ALL"),
        ("--wait", 2, "hpcdl submit --wait"),
        ("--frobnicate=1", 2, "sbatch has no such option"),
        ("--array=3-9", 2, "of index 3; send one for each: for n in $(seq 3 9); do"),
    ],
)
def test_what_is_left_has_line_and_reason(adopted, options, line, words):
    made = adopted(options)

    assert any(item.line == line and words in str(item) for item in made.left), made.left
    assert f"line {line}: " in job_text(made)


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ("module load a/1 b\nmodule load c\n", {"cluster.modules": ["a/1", "b", "c", "singularity"]}),
        ("ml purge\nml x\n", {"cluster.modules": ["x", "singularity"]}),
        ("export A=1 B='two words'\n", {"env.A": "1", "env.B": "two words"}),
        ("export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK\n", {"env.OMP_NUM_THREADS": "4"}),
        ("export SINGULARITYENV_X=y\n", {"env.X": "y"}),
        ("export APPTAINER_BIND=/usr/share,/opt:/x:ro\n", {"cluster.binds": ["/usr/share", "/opt:/x:ro"]}),
        ("export PYTHONPATH=/opt:$PYTHONPATH\n", {"pythonpath": ["/opt"]}),
        ("cd $SLURM_SUBMIT_DIR\n", {"workdir": ".", "script": "train.py"}),
        ("cd sub\ncd ..\n", {"workdir": ".", "script": "train.py"}),
        ("A=1 C=2\n", {"env.A": None}),
    ],
)  # fmt: skip
def test_surroundings_become_keys(adopted, commands, expected):
    made = keys(adopted("-c 4", commands + RUN))

    assert {key: made.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("srun python -u train.py -v", {"args": ["-v"], "container": None}),
        ("A=1 singularity exec /x.sif python3 train.py", {"env.A": "1", "container": "/x.sif"}),
        ("singularity exec -B /usr -e x.sif python ./train.py", {"cluster.binds": ["/usr"]}),
        ("apptainer exec --env A=1,B=2 x.sif python train.py", {"env.B": "2"}),
        ("apptainer exec --pwd /d x.sif python /d/t.py", {"workdir": "/d", "script": "/d/t.py"}),
        ("apptainer exec --rocm x.sif python train.py", {"cluster.gpu_vendor": "amd"}),
        ("I=/a/b.sif; singularity exec $I python train.py", {"container": "/a/b.sif"}),
        ("singularity exec $SCRATCH/b.sif python train.py", {"container": "$SCRATCH/b.sif"}),
        ("X='--a 1 --b'; python train.py $X \"$X\"", {"args": ["--a", "1", "--b", "--a 1 --b"]}),
        ("python train.py --id $SLURM_JOB_ID --n 3", {"args": ["--n", "3"]}),
        ("python train.py --when=$(date +%F)", {"args": None}),
    ],
)  # fmt: skip
def test_program_becomes_keys(adopted, command, expected):
    made = keys(adopted("-c 4", f"{command}\n"))

    assert {key: made.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("options", "commands", "words"),
    [
        ("", "python a.py\npython b.py\n", "line 3 starts another one"),
        ("", "for i in 1 2; do python a.py $i; done\n", "in a loop"),
        ("", "python -m pkg.train\n", 'runpy.run_module("pkg.train"'),
        ("", "python - <<EOF\nprint(1)\nEOF\n", "put it into a .py file"),
        ("", "./solver\n", "runs a Python script, and this is none"),
        ("", "echo hello\n", "starts no program that is known"),
        ("-n 4", "srun python a.py\n", "starts 4"),
        ("-N 2", "python a.py\n", "on the first node alone"),
        ("-N 2", "mpirun -np 2 python a.py\n", "without MPI"),
        ("", "cd $(mktemp -d)\npython a.py\n", "known to the running script alone"),
        ("", "python $PROGRAM.txt\n", "a job runs a .py file"),
        ("", "python ${FILES[0]}\n", "only the running script knows this"),
    ],
)
def test_no_job_does_the_same(adopted, options, commands, words):
    made = adopted(options, commands)

    assert any(words in f"{item.why}; {item.fix}" for item in made.obstacles), made.obstacles


@pytest.mark.parametrize(
    ("options", "names"), [("", ["SLURM_JOB_ID", "SLURM_PROCID"]), ("-e", None)]
)
def test_program_keeps_slurms_variables(adopted, options, names):
    """Those that its text names, where its container has the node's variables."""
    text = 'import os\nprint(os.environ["SLURM_PROCID"], os.getenv("SLURM_JOB_ID"))\n'
    Path("own.py").write_text(text)
    made = keys(adopted("-c 4", f"singularity exec {options} tf.sif python own.py\n"))

    assert made.get("cluster.pass_env") == names


def test_nothing_of_a_script_runs(adopted, tmp_path):
    adopted("-c 4", f"touch ran\nX=$(touch ran)\n`touch ran`\n{RUN}")

    assert not (tmp_path / "ran").exists()


def test_job_file_in_another_folder(cli, adopted, tmp_path):
    adopted("-c 4")
    Path("jobs").mkdir()
    answer = cli("adopt", "a.slurm", "-o", "jobs/a.yaml")
    job = load_job("jobs/a.yaml")

    assert answer.out == "jobs/a.yaml\n"
    assert (job.script, job.workdir) == (str(tmp_path / "train.py"), str(tmp_path))


def test_existing_file_stays(cli, adopted):
    adopted("-c 4")
    Path("a.yaml").write_text("mine\n")
    answer = cli("adopt", "a.slurm", "-o", "a.yaml")

    assert (answer.code, answer.out) == (2, "")
    assert "a.yaml exists already; remove it, or give --output another name" in answer.err
    assert Path("a.yaml").read_text() == "mine\n"


@pytest.mark.parametrize("output", [(), ("-o", "-")])
def test_job_file_is_printed(cli, adopted, output):
    adopted("-c 4\n-o log.txt")
    answer = cli("adopt", "a.slurm", *output)

    assert answer.code == 0
    assert answer.out.startswith("# The job of a.slurm")
    assert "#   line 3: -o log.txt: the log is logs/1.log" in answer.out
    assert "a.slurm: not carried over, 1 thing:" in answer.err
    assert sorted(os.listdir()) == ["a.slurm", "train.py"]


def test_profile_keeps_what_is_its_own(cli, adopted):
    course = "/gpfs/scratch/nct00/MN5-NGC-TensorFlow-23.03.sif"
    adopted("-A nct00 -q acc_debug -c 20 --gres=gpu:1", RUN.replace("tf.sif", course))
    answer = cli("adopt", "a.slurm", "-c", "marenostrum5", "-o", "a.yaml")
    job = load_job("a.yaml")

    assert answer.code == 0
    assert set(job.cluster) == {"account"}  # the profile leaves that open


def test_adopted_job_is_valid_yaml(cli, adopted):
    """Hostile values stay what they are."""
    adopted("-c 4\n--comment='a: {b}, [c] # d'", "export A='x: \"y\" # z' B=$'tab\\there'\n" + RUN)
    cli("adopt", "a.slurm", "-o", "a.yaml")
    job = load_job("a.yaml")

    assert job.slurm["comment"] == "a: {b}, [c] # d"
    assert job.env == {"A": 'x: "y" # z', "B": "tab\there"}


def test_adopt_needs_a_batch_script(cli, adopted):
    adopted("-c 4")
    answer = cli("adopt", "train.py")

    assert answer.code == 2
    assert "train.py is a job already, and no batch script: hpcdl check train.py" in answer.err


def test_adopted_text_passes_through_yaml(adopted):
    made = adopted("-c 4", f"A='{'x' * 300}'\n" + RUN.replace("3\n", "3 " + "--word " * 40 + "\n"))

    assert max(map(len, job_text(made).splitlines())) <= 100
    assert len(made.document.plain()["args"]) == 42


def test_adopt_leaves_script_alone(cli, adopted):
    adopted("-c 4")
    before = Path("a.slurm").read_bytes()
    cli("adopt", "a.slurm", "-o", "a.yaml")

    assert Path("a.slurm").read_bytes() == before
