"""What real people's scripts have, and what adopt says of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpcdl.adopt import Adopted, adopt
from hpcdl.adopt.secrets import hidden
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


@pytest.mark.parametrize(
    ("commands", "options"),
    [
        (RUN, "#SBATCH --export=ALL,A=1,HF_TOKEN=hf_plum,WANDB_API_KEY=plum\n"),
        (f"srun --export=ALL,A=1,HF_TOKEN=plum {RUN}", ""),
        (f"export A=1 INDEX=https://me:plum@host/simple\n{RUN}", ""),
        (f"export A=1 COMET_KEY=plum0123456789abcdef\n{RUN}", ""),
    ],
)
def test_secret_variables_stay_in_the_script(adopted, commands, options):
    made = adopted(f"{options}{commands}")

    assert made.document.plain()["env"] == {"A": "1"}
    assert "plum" not in "".join(map(str, made.left))
    assert "(hidden)" in "".join(map(str, made.left))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("PLUM_KEY=plum0123456789abcdef x", "PLUM_KEY=(hidden) x"),
        ("PGPASSWORD='ripe plum' x", "PGPASSWORD=(hidden) x"),
        ("x --password 'ripe plum' y", "x --password (hidden) y"),
        ("x --wandb_key plum0123456789abcdef y", "x --wandb_key (hidden) y"),
        ("ALL,HF_TOKEN=plum,API_KEY=plum,A=1", "ALL,HF_TOKEN=(hidden),API_KEY=(hidden),A=1"),
        ("pip install git+https://me:plum@host/x", "pip install git+https://me:(hidden)@host/x"),
    ],
)
def test_secrets_of_a_line_are_hidden(text, shown):
    assert hidden(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "x --key-bits 256 --max_token 128 --sort-key loss --no-password --n 3",
        "MONKEY=1 PRIMARY_KEY=id MAX_TOKEN=128 EOS_TOKEN='</s>' x",
        "x --tokenizer /models/0123456789abcdef0123 --key ~/.ssh/id_ed25519",
        'HF_TOKEN=$(cat f) A_TOKEN="$B" HF_TOKEN_FILE=/home/me/0123456789abcdef',
        "docker://plum:22.04@sha256:0123456789abcdef https://me:$A@host https://me@host",
    ],
)
def test_harmless_words_are_shown(text):
    assert hidden(text) == text


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
