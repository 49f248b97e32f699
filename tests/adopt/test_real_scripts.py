"""What real people's scripts have, and what adopt says of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpcdl.adopt import Adopted, adopt
from hpcdl.batchscript.read import read_script

RUN = "apptainer exec --nv i.sif python x.py"


@pytest.fixture
def adopted(tmp_path, monkeypatch):
    """Adopts a script in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def make(commands: str, options: str = "-c 4 --gpus-per-node=1") -> Adopted:
        Path("a.slurm").write_text(f"#!/bin/bash\n#SBATCH {options}\n{commands}\n")
        return adopt(read_script(Path("a.slurm")))

    return make


@pytest.mark.parametrize(
    ("commands", "args", "left"),
    [
        (f"{RUN} $PROJECTS/perf/$2 --idx 3", ["--idx", "3"], ["$PROJECTS/perf/${2}"]),
        (f"{RUN} $A/$2/x --idx 3", ["--idx", "3"], ["$A/${2}/x"]),
        (f"M=/a; {RUN} --m pre=$M,acc=True,tok=$M,d=f16 --z 1", ["--m", "pre=/a,acc=True,tok=/a,d=f16", "--z", "1"], []),
        (f"A=/a; B=b; {RUN} $A/$B/c", ["/a/b/c"], []),
        (f"A=/a; B=$A/$A/c; {RUN} $B", ["/a//a/c"], []),
    ],
)  # fmt: skip
def test_variables_behind_each_other(adopted, commands, args, left):
    made = adopted(commands)

    assert made.document.plain()["args"] == args
    assert [item.text for item in made.left] == left


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("source ./.env", "env:"),
        (". ~/.bashrc", "env:"),
        ("source /usr/share/lmod/lmod/init/bash", "loads its modules itself"),
        (". /etc/profile.d/modules.sh", "loads its modules itself"),
        ("source venv/bin/activate", "packages: requirements.txt"),
        ("source ~/miniconda3/etc/profile.d/conda.sh", "packages: requirements.txt"),
    ],
)
def test_files_that_the_shell_reads(adopted, command, words):
    (item,) = adopted(f"{command}\n{RUN}").left

    assert words in str(item)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("torchrun --nproc_per_node=4 train.py", "torchrun"),
        ("accelerate launch train.py", "accelerate"),
        ("srun singularity exec --nv i.sif bash -c 'cd x; deepspeed train.py'", "deepspeed"),
        ("python -m torch.distributed.run train.py", "torch.distributed.run"),
    ],
)
def test_programs_that_start_processes(adopted, command, name):
    (obstacle,) = adopted(command).obstacles

    assert f"{name} starts processes itself" in obstacle.why


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("-c 4 --mail-user=", "--mail-user=: has no value"),
        ("-c 4 --export==devel/x", "--export==devel/x: a job gets no variable"),
        ("--cpus-per-gpu=6", "--cpus-per-gpu=6: is for each GPU"),
        ("-c 4 --mem-per-gpu=45G", "--mem-per-gpu=45G: is for each GPU"),
    ],
)
def test_options_that_say_nothing(adopted, options, words):
    made = adopted(RUN, options)

    assert [words in str(item) for item in made.left] == [True]
    assert "slurm" not in made.document.plain()


def test_commands_of_several_lines_are_shown_on_one(adopted):
    made = adopted(f"mkdir -p \\\n    a \\\n  b\n{RUN}\npython \\\n y.py 'a\nb'\n")

    assert str(made.left[0]).startswith("line 3: mkdir -p a b: a job")
    assert str(made.left[1]).startswith("line 7: python y.py 'a: a job")
    assert "?" not in "".join(map(str, [*made.left, *made.obstacles]))


@pytest.mark.parametrize(
    ("commands", "args"),
    [
        (f"{RUN} --token 0123456789abcdef0123 --n 3", ["--n", "3"]),
        (f"{RUN} --hf_token=hf_0123456789abcdef --n 3", ["--n", "3"]),
        (f"{RUN} --n 3 --password 'correct horse'", ["--n", "3"]),
        (f"curl -X POST https://hooks.slack.com/services/T0/B0/0123456789ab -d x\n{RUN} --n 3", ["--n", "3"]),
        (f"wandb login 0123456789abcdef0123\n{RUN} --n 3", ["--n", "3"]),
        (f"{RUN} --max_token 128 --token /a/b/file --tokenizer 0123456789abcdef", ["--max_token", "128", "--token", "/a/b/file", "--tokenizer", "0123456789abcdef"]),
    ],
)  # fmt: skip
def test_secrets_stay_in_the_script(adopted, commands, args):
    made = adopted(commands)
    said = "".join(map(str, made.left))

    assert made.document.plain()["args"] == args
    assert not {"0123456789ab", "correct"} & set(re.findall(r"0123456789ab|correct", said))
    assert ("(hidden)" in said) == ("tokenizer" not in commands)


def test_folder_of_an_unknown_name_is_unknown(adopted):
    made = adopted(f"run_id=${{pdb%.*}}_$2_$3\ncd /scratch/u/$run_id\n{RUN}")

    assert "workdir" not in made.document.plain()
    assert "the running script alone" in str(made.obstacles[0])
    assert adopted(f"cd /u/$2_x\n{RUN}").notes == adopted(f"cd $(x)\n{RUN}").notes


def test_backslash_at_the_end_is_nothing(adopted):
    assert adopted(f"{RUN} \\").left == []


def test_joined_words_are_said(adopted):
    made = adopted(f"{RUN} --a 1\\\n--b 2")

    assert made.document.plain()["args"] == ["--a", "1", "--b", "2"]
    joined = "line 3: no blank stands before the backslash: bash makes one word of two, 1--b"
    assert f"{joined}; the job has both words" in made.notes
