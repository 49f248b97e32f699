"""Findings on both sides of their line: what draws one, and what is near it and right."""

from __future__ import annotations

import pytest

from hpcdl.batchscript.findings import Surroundings, findings
from hpcdl.batchscript.model import ScriptFinding
from hpcdl.batchscript.read import read_script
from hpcdl.batchscript.sizes import gpus_in, slurm_seconds
from hpcdl.errors import UserError

TRAINS = "import tensorflow as tf\nm = tf.keras.Sequential()\nm.fit(1, 2)\nm.save('a.keras')\n"
SAVES = TRAINS.replace(
    "m.fit(1, 2)", "m.fit(1, callbacks=[tf.keras.callbacks.BackupAndRestore('b')])"
)
EARLY = TRAINS.replace(
    "m.fit(1, 2)", "m.fit(1, tf.keras.callbacks.EarlyStopping(restore_best_weights=True))"
)
MIRRORS = "import tensorflow as tf\ns = tf.distribute.MirroredStrategy()\n"
WORKERS = "import tensorflow as tf\ns = tf.distribute.MultiWorkerMirroredStrategy()\n"
LOOPS = "import torch\nfor epoch in range(9):\n    torch.save(1, 'state.pt')\n"
IMAGE = "singularity exec --nv --no-home i.sif python a.py"
LONG = "#SBATCH --gres=gpu:4\n#SBATCH --time=12:00:00\n"
CARDS = "#SBATCH -n 4 --gpus-per-task=1\n"

# code: scripts that draw it and nothing else
BAD = {
    "torn-path": [
        "IMAGE= /g/i.sif\nsingularity exec $IMAGE python a.py\n",
        "IMAGE = /g/i.sif\nsingularity exec $IMAGE python a.py\n",
        "IMAGE=/g/our images/i.sif\nsingularity exec $IMAGE python a.py\n",
        "IMAGE='/g/our images/i.sif'\nsingularity exec $IMAGE python a.py\n",
        'D="/g/my data/x"\npython a.py --data $D\n',
        'D="/g/my data/x"\ncd $D\n',
    ],
    "gpus-without-nv": [
        "#SBATCH --gres=gpu:1\nsingularity exec i.sif python a.py\n",
        "#SBATCH -G 2\napptainer run --bind /a i.sif\n",
        '#SBATCH --gpus-per-node=a100:1\nsrun singularity exec "$IMAGE" python a.py\n',
    ],
    "nv-without-gpus": [f"#SBATCH -p main\n{IMAGE}\n", f"#SBATCH --gres=nvme:1\n{IMAGE}\n"],
    "srun-cpus": [
        "#SBATCH -c 8\nsrun python a.py\n",
        "#SBATCH --cpus-per-task=8\nexport OMP_NUM_THREADS=8\nsrun -n 1 ./solver\n",
    ],
    "output-folder": [
        "#SBATCH -o logs/%j.out\n",
        "#SBATCH -e there/%j/err\n",
        "#SBATCH --output=$HOME/logs/a.out\n",
        "#SBATCH --chdir=there\n#SBATCH -o logs/a.out\n",
    ],
    "mem-twice": [
        "#SBATCH --mem=4G\n#SBATCH --mem-per-cpu=1G\n",
        "#SBATCH --mem-per-gpu=4G --mem-per-cpu=1G --gpus=1\n",
    ],
    "docker-at-run-time": [
        "apptainer exec docker://python:3.11 python a.py\n",
        'singularity run "docker://$NAME"\n',
    ],
    "no-checkpoint": [
        f"{LONG}python trains.py\n",
        f"{LONG}cd sub\npython ../trains.py\n",
        f"{LONG}python early.py\n",
        '#SBATCH -t 2-0\npython "$SLURM_SUBMIT_DIR/trains.py"\n',
    ],
    "export-lost": [
        "#SBATCH --export=A, B\npython a.py\n",
        "#SBATCH --export=ALL,A=$HOME/x\npython a.py\n",
        '#SBATCH --export="A=1, B=2"\npython a.py\n',
        "#SBATCH --export=NONE\npython a.py --lr $RATE\n",
        "#SBATCH --export=EPOCHS\npython a.py --lr $RATE --epochs $EPOCHS\n",
        "#SBATCH --export=NONE\nmodule load python\nsrun python a.py\n",
    ],
    "login-folder": ["cd /tmp/mine\n", "#SBATCH -D /tmp/mine\n", "cd /login/mine\n"],
    "cuda-visible-devices": [
        "#SBATCH -G1\nexport CUDA_VISIBLE_DEVICES=0\npython a.py\n",
        "#SBATCH -G1\nCUDA_VISIBLE_DEVICES=0,1 python a.py\n",
        "#SBATCH --gres=gpu:4\nexport CUDA_VISIBLE_DEVICES=0,1,2\npython a.py\n",
        "#SBATCH --gres=gpu:2\nexport CUDA_VISIBLE_DEVICES=0,1\npython a.py\n",
        "#SBATCH -G1\nCUDA_VISIBLE_DEVICES=0\nexport CUDA_VISIBLE_DEVICES\npython a.py\n",
    ],
    "gpus-per-task-mirrored": [
        f"{CARDS}srun python mirrors.py\n",
        f"{CARDS}srun python - <<'EOF'\n{MIRRORS}EOF\n",
    ],
    "tasks-started": [
        "srun -n 4 python a.py\n",
        "#SBATCH -n 1\nmpirun -np 4 ./solver\n",
        "#SBATCH -N 2 --ntasks-per-node=2\nsrun --ntasks=8 ./solver\n",
    ],
    "ignored-directive": [
        " #SBATCH --nodes=2\n",
        "# a remark\n\t#SBATCH -t 10\npython a.py\n",
    ],
    "late-directive": ["cd x\n#SBATCH --nodes=2\n", "A=1\n#SBATCH -t 10\npython a.py\n"],
    "unknown-option": [
        "#SBATCH --walltime=1:00:00\n",
        "#SBATCH --gpu=1\n",
        "#SBATCH \N{EN DASH}nodes=2\n",
        "#SBATCH time=5\n",
        "#SBATCH --mem=10 GB\n",
        "#SBATCH --exclusive user\n",
    ],
    "bad-value": [
        "#SBATCH --time=abc\n",
        "#SBATCH -t=10\n",
        "#SBATCH -time=10\n",
        "#SBATCH --nodes=two\n",
        "#SBATCH --mem=10XB\n",
        "#SBATCH --gres=gpus:1\n",
        "#SBATCH --requeue=yes\n",
        "#SBATCH --time\n",
        '#SBATCH --comment="a\n',
    ],
    "contradiction": [
        "#SBATCH -N1 -n8 --ntasks-per-node=4\n",
        "#SBATCH -N4 -n2\n",
        "#SBATCH --gres=gpu:2 --gpus=4 -N1\n",
        "#SBATCH --gres=gpu:4 --gpus=2\n",
        "#SBATCH --gpus-per-task=1\n",
        "#SBATCH --gpus-per-task=1 -n2 --gpus=4\n",
        "#SBATCH --cpus-per-gpu=2 -c2 --gpus=1\n",
        "#SBATCH -t 1:00:00 --time-min=2:00:00\n",
        "#SBATCH --nodes=3-2\n",
    ],
    "placeholder": [
        "#SBATCH -A <group>\n",
        "#SBATCH --account=YOUR_ACCOUNT\n",
        "#SBATCH --account=your-project\n",
        "#SBATCH --account=$ACCOUNT\n",
        "#SBATCH -p {{partition}}\n",
        "#SBATCH -p [name of it]\n",
        '#SBATCH --qos="[name of it]"\n',
        "#SBATCH -A XXXX\n",
        "#SBATCH -J job-<name>\n",
        "#SBATCH --mail-user=<you@site>\n",
    ],
}  # fmt: skip
GOOD = [
    "A= python a.py\necho $A\n",
    "#SBATCH --image=nvcr.io/nvidia/tensorflow:23.03-tf2-py3 --module=gpu\n",
    "#SBATCH --gres=gpu:4\nexport CUDA_VISIBLE_DEVICES=0,1,2,3\n",
    "#SBATCH --gpus-per-node=4\nexport CUDA_VISIBLE_DEVICES=3,2,1,0\n",
    "#SBATCH --gpus-per-node=a100:4\nCUDA_VISIBLE_DEVICES=0,1,2,3 python a.py\n",
    "##SBATCH -t 1\n# #SBATCH -t 1\npython a.py\n #SBATCH -t 1\n",
    'CMD="apptainer exec /i/x.sif python"\n$CMD a.py\n',
    "IFS= read -r line\nLD_PRELOAD= /usr/bin/ls\n",
    "PYTHONPATH=/a/b ./run.sh\n",
    'F="/g/a.txt /g/b.txt"\ncat $F\nC="/opt/app/run in/x"\n$C\nO="--nv -B /a b"\necho $O\n',
    f"#SBATCH --gres=gpu:1\n{IMAGE}\nsingularity exec i.sif python prepare.py\n",
    "#SBATCH --gres=gpu:1\nexport APPTAINER_NV=1\napptainer exec i.sif python a.py\n",
    "#SBATCH --gres=gpu:1\nsingularity exec --rocm i.sif python a.py\n",
    "#SBATCH --gres=gpu:1\nsingularity exec $OPTIONS $IMAGE python a.py\n",
    "#SBATCH --gres=gpu:1\nsingularity exec i.sif pip list\n",
    f"#SBATCH -p gpu\n{IMAGE}\n",
    f"#SBATCH -C a100\n{IMAGE}\n",
    f"#SBATCH --exclusive\n{IMAGE}\n",
    "#SBATCH -c 8\nexport SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK\nsrun python a.py\n",
    "#SBATCH -c 8\nsrun -c $SLURM_CPUS_PER_TASK python a.py\nsrun -c8 ./solver\n",
    "#SBATCH -c 8\nsrun hostname\npython a.py\n",
    "#SBATCH -c 8\nsrun $OPTIONS python a.py\n",
    "#SBATCH -n 8\nsrun python a.py\n",
    "#SBATCH -o %j.out -e there/%x.err\n",
    "#SBATCH -o /no/such/place/%j.out\n",
    "#SBATCH --mem=0 --exclusive\n",
    f"{LONG}python saves.py\n",
    f"{LONG}python loops.py\n",
    f"{LONG}python imports.py\n",
    f"{LONG}python nowhere.py\n",
    f"{LONG}#SBATCH --signal=USR1@60\npython trains.py\n",
    f"{LONG}python trains.py --resume last\n",
    f"{LONG}python trains.py\n./solver\n",
    f"{LONG}cd $WHERE\npython trains.py\n",
    "#SBATCH -t 30 -G 1\npython trains.py\n",
    "#SBATCH --export=ALL,A=1\npython a.py $A $B\n",
    "#SBATCH --export=NONE\nA=1\nfor i in 1 2; do python a.py $A $i $SLURM_JOB_ID $HOME; done\n",
    "#SBATCH --export=NONE\nexport SLURM_EXPORT_ENV=ALL\nmodule load python\nsrun python a.py\n",
    "#SBATCH --export=RATE\npython a.py --lr $RATE ${OTHER:-1}\n",
    "mkdir -p /tmp/mine\ncd /tmp/mine\n",
    'cd /tmp\ncd "$TMPDIR/x"\n',
    "git clone a /tmp/mine\ncd /tmp/mine/sub\n",
    "#SBATCH -G2\nCUDA_VISIBLE_DEVICES=0 python a.py &\nCUDA_VISIBLE_DEVICES=1 python a.py &\nwait\n",
    "#SBATCH -G1\nexport CUDA_VISIBLE_DEVICES=$SLURM_LOCALID\nCUDA_VISIBLE_DEVICES= python a.py\n",
    f"{CARDS}srun python workers.py\n",
    f"{CARDS}python mirrors.py\n",
    "#SBATCH -n 4\nsrun -n 2 python a.py &\nsrun -n 2 python a.py &\nwait\n",
    "#SBATCH -n 1 -c 4\nsrun -n 4 -c 1 ./solver\n",
    "#SBATCH -n 1\nmpirun -np $N ./solver\n",
    "#SBATCH --nodes=2-4\nsrun -n 16 ./solver\n",
    "cat <<EOF > b.sh\n#SBATCH --nodes=2\nEOF\n",
    "#SBATCH -N2\ncd x\n#SBATCH -N2\n",
    "#SBATCH --parti=gpu --uenv=x --container-image=a\n",
    "#SBATCH --time=00:00:45\n./solver\n",
    "#SBATCH --time=0-0:0:20\n./solver\n",
    "#SBATCH -t UNLIMITED --nice=5 -k --hint=nomultithread\n",
    "#SBATCH -N2 -n8 --ntasks-per-node=4 --gres=gpu:2 --gpus=4\n",
    "#SBATCH -J your_model --comment='a <b> $C' -A yours01\n",
    "#SBATCH --mail-user=%u@site.eu -q xxl\n",
    "#SBATCH -C [a|b] -w [n1-n2],n[3,4] -J [a] --array=[1-3]\n",
]


@pytest.fixture
def told(tmp_path):
    """What is found in a script beside some programs."""
    for name, text in {
        "trains": TRAINS, "saves": SAVES, "early": EARLY, "mirrors": MIRRORS, "workers": WORKERS,
        "loops": LOOPS, "imports": "import saves\n",
    }.items():  # fmt: skip
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "there").mkdir()
    (tmp_path / "sub").mkdir()

    def told(lines: str, **more: object) -> list[ScriptFinding]:
        path = tmp_path / "job.slurm"
        path.write_text(f"#!/bin/bash\n{lines}")
        facts = {"slurm_version": (22, 5), "folder": tmp_path, "login_folders": ("/login",), **more}
        return findings(read_script(path), Surroundings(**facts))

    return told


@pytest.mark.parametrize("code", BAD)
def test_bad_lines_are_found(told, code):
    for lines in BAD[code]:
        assert {one.code for one in told(lines)} == {code}, lines


@pytest.mark.parametrize("lines", GOOD)
def test_right_lines_draw_none(told, lines):
    assert told(lines) == []


def test_older_srun_gives_all(told):
    assert told("#SBATCH -c 8\nsrun python a.py\n", slurm_version=(21, 8)) == []
    assert told("#SBATCH -c 8\nsrun python a.py\n", slurm_version=None) == []


def test_home_with_packages_shadows(told, tmp_path):
    home = tmp_path / "home"
    packages = home / ".local/lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    run = "singularity exec i.sif python a.py\n"
    assert told(run, home=home) == []

    (packages / "numpy").mkdir()

    assert [one.code for one in told(run, home=home)] == ["shadowing-home"]
    for right in (
        "singularity exec --no-home i.sif python a.py\n",
        "singularity exec i.sif python -s a.py\n",
        "export SINGULARITYENV_PYTHONNOUSERSITE=1\n" + run,
        "export PYTHONNOUSERSITE=1\n" + run,
        "singularity exec --env PYTHONNOUSERSITE=1 i.sif python a.py\n",
        "singularity exec i.sif ./solver\n",
        "python a.py\n",
    ):
        assert told(right, home=home) == [], right


OUTER = "#SBATCH -G1\nsingularity exec --nv i.sif"


@pytest.mark.parametrize(
    ("lines", "line", "fix"),
    [
        ("IMAGE= /g/i.sif\nrun $IMAGE\n", 2, "IMAGE=/g/i.sif"),
        ("A = 5\n./a $A\n", 2, "no blanks around =: A=5"),
        ('A = "b \\\n c"\n./a $A\n', 2, 'no blanks around =: A="b …'),
        ("#SBATCH --walltime=5\n", 2, "#SBATCH --time=5"),
        ("#SBATCH --mem=10 GB\n", 2, "#SBATCH --mem=10GB"),
        ("#SBATCH --time=10 foo\n", 2, "remove foo: #SBATCH --time=10"),
        ("#SBATCH --wall = 5\n", 2, "#SBATCH --time=5"),
        ("#SBATCH --partitions gpu\n", 2, "#SBATCH --partition=gpu"),
        ("#SBATCH --qos= long\n", 2, "#SBATCH --qos=long"),
        ("#SBATCH --time = 2-0:00\n", 2, "#SBATCH --time=2-0:00"),
        ("#SBATCH -w = n1\n", 2, "#SBATCH --nodelist=n1"),
        ("#SBATCH --time =5\n", 2, "#SBATCH --time=5"),
        ("#SBATCH --job-name= a b\n", 2, '#SBATCH --job-name="a b"'),
        ("#SBATCH -M --cluster one\n", 2, "#SBATCH --clusters=one"),
        ("#SBATCH -M --cluster=one\n", 2, "#SBATCH --clusters=one"),
        ("#SBATCH -p --qos=a\n", 2, "#SBATCH --partition=VALUE --qos=a"),
        ("#SBATCH -oe %j.log\n", 2, "#SBATCH --output=%j.log"),
        ("#SBATCH --gres=gpu:2 (two)\n", 2, "#SBATCH --gres=gpu:2 # (two)"),
        ("#SBATCH -o a\\ b\\ c/x\n", 2, '#SBATCH --output="a b c/x"'),
        ("#SBATCH --mail-type=END, FAIL\n", 2, "#SBATCH --mail-type=END,FAIL"),
        ("#SBATCH --exclusive = user\n", 2, "#SBATCH --exclusive=user"),
        ("#SBATCH -A [my budget] -N1\n", 2, "#SBATCH --account=NAME"),
        ("#SBATCH -q <<one of the two>>\n", 2, "#SBATCH --qos=VALUE"),
        ("#SBATCH --mem=1G\u00a0-n1\n", 2, r"sed -i 's/\xc2\xa0/ /g'"),
        ("A=\u201c/x/a.sif\u201d\n", 2, 'A="/x/a.sif"'),
        ("#SBATCH -time=10\n", 2, "#SBATCH --time=10"),
        ("#SBATCH --export=A, B\n", 2, "#SBATCH --export=A,B"),
        ("#SBATCH -o logs/a.out\n", 2, "mkdir -p logs"),
        ("#SBATCH -c8\n\nsrun ./solver\n", 4, "srun --cpus-per-task=8 ./solver"),
        ("#SBATCH -G1\nsingularity exec i.sif python a.py\n", 3, "singularity exec --nv i.sif python"),
        (f"{OUTER} bash -c 'singularity exec j.sif python a.py'\n", 3, "'singularity exec --nv j.sif python"),
        (f"{OUTER} bash -c '\nsingularity exec j.sif python a.py'\n", 4, "singularity exec --nv j.sif python"),
        ("srun -n 4 ./solver\n", 2, "#SBATCH --ntasks=4"),
    ],
)  # fmt: skip
def test_remedy_is_a_line(told, lines, line, fix):
    (one,) = told(lines)

    assert one.line == line
    assert fix in one.fix


CUDA = "CUDA_VISIBLE_DEVICES=0"


@pytest.mark.parametrize(
    ("lines", "fix"),
    [
        (f"{CUDA} python a.py\n", "line 3 without it: python a.py"),
        (f"N=1 {CUDA} ./a \\\n  b\n", "line 3 without it: N=1 ./a \\"),
        (f"{CUDA} \\\n  ./a\n", "remove line 3; SLURM sets it"),
        (f"export {CUDA}\n./a\n", "remove line 3; SLURM sets it"),
        (f"export {CUDA} # the first\n./a\n", "remove line 3; SLURM sets it"),
        ("i=0; export CUDA_VISIBLE_DEVICES=$i; ./a\n", "line 3 without it: i=0; ./a"),
        (f'cd "$A" && export {CUDA} && ./a\n', 'line 3 without it: cd "$A" && ./a'),
        (f"A=1 bash -c '{CUDA} ./a'\n", "line 3 without it: A=1 bash -c './a'"),
        (f"export N=4 {CUDA}; ./a\n", f"take {CUDA} out of line 3; SLURM sets it"),
        (f"export {CUDA} N=4\n./a\n", f"take {CUDA} out of line 3; SLURM sets it"),
        (f"export N=1; export {CUDA}\n./a\n", "line 3 without it: export N=1;"),
        (f"declare -x {CUDA}\n./a\n", "remove line 3; SLURM sets it"),
        (f"if [ x ]; then export {CUDA}; fi\n", f"take {CUDA} out of line 3; SLURM sets it"),
        (
            f"if [ x ]; then\n  # one\n  export {CUDA}\nfi\n",
            f"take {CUDA} out of line 5; SLURM sets it",
        ),
        (f"[ x ] && export {CUDA}; ./a\n", f"take {CUDA} out of line 3; SLURM sets it"),
        (f"case x in x) N=1; export {CUDA};; esac\n", f"take {CUDA} out of line 3; SLURM sets it"),
        (f"export N=1 \\\n  {CUDA}\n./a\n", f"take {CUDA} out of line 4; SLURM sets it"),
        (
            f"apptainer exec --nv --env {CUDA} a.sif ./a\n",
            "line 3 without it: apptainer exec --nv a.sif ./a",
        ),
    ],
)
def test_only_the_setting_is_removed(told, lines, fix):
    said = [one.fix for one in told(f"#SBATCH --gres=gpu:1\n{lines}")]

    assert said == [fix]


@pytest.mark.parametrize(
    ("numbers", "words"),
    [("1", "no GPU at all"), ("0,1", "no number 1"), ("0", "does not hold the devices apart")],
)
def test_numbers_begin_at_zero(told, numbers, words):
    (said,) = told(f"#SBATCH --gres=gpu:1\nCUDA_VISIBLE_DEVICES={numbers} ./a\n")

    assert words in said.cause


def test_one_folder_is_said_once(told):
    (one,) = told("#SBATCH -o logs/%j.out -e logs/%j.err\n")

    assert one.blocks


def test_what_only_looks_like_a_script(tmp_path):
    """A folder, a file that is not there, one with an editor's mark, one of another language."""
    marked = tmp_path / "marked.slurm"
    marked.write_bytes(b"\xef\xbb\xbf#!/bin/bash\n")
    python = tmp_path / "train.slurm"
    python.write_text("#!/usr/bin/env python3\n#SBATCH -n 1\nprint(1)\n")
    for path, words in {
        tmp_path: "is not a file",
        tmp_path / "no.slurm": "cannot be read: No such file",
        marked: "BOM",
        python: "a script for python",
    }.items():
        with pytest.raises(UserError, match=words):
            read_script(path)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("srun <your program>\n", "stands for your own: srun <your program>"),
        ("module load R/<version>\n", "stands for your own: module load R/<version>"),
        ("cd /a/<project>\nsrun ./a\n", "job.slurm:2: .* stands for your own: cd /a/<project>"),
        ("for i in 1 2; do\n  # nothing yet\ndone\n", "job.slurm:4: .*`done'.* bash -n"),
    ],
)
def test_what_bash_cannot_read(told, lines, words):
    with pytest.raises(UserError, match=words):
        told(lines)


def test_lost_hours_are_counted(told):
    (one,) = told(f"{LONG}python trains.py\n")

    assert "48 GPU-hours" in one.cause


def test_remedy_of_lost_hours_works_alone(told):
    """A signal to the batch shell ends it, unless it has a trap, which waits for the program."""
    (one,) = told(f"{LONG}python trains.py\n")

    assert one.fix.index("--requeue") < one.fix.index("--signal") < one.fix.index("trap '")
    assert "& wait" in one.fix


@pytest.mark.parametrize("option", ["kitten=5", "ear-verbose=1", "quotatype=spot", "time-tag"])
def test_option_of_a_plug_in(told, option):
    """It may be known on that site: it does not block, and no other option is meant."""
    (one,) = told(f"#SBATCH --{option}\n")

    assert (one.code, one.blocks) == ("unknown-option", False)
    assert "plug-in" in one.cause
    assert one.fix == "see sbatch --help on the site; where it is not there, remove the line"


def test_options_that_a_site_adds(told):
    """sbatch --test-only has taken it: a plug-in of the site's knows the option."""
    assert told("#SBATCH --special=1\n", sbatch_takes=True) == []


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("gpu:2", 2), ("gpu", 1), ("gpu:a100", 1), ("gpu:3090:2", 2), ("gpu:1g.10gb:3", 3),
        ("nvme:1", None), ("gpu:a100:1,gpu:v100:2,nvme:1", 3), ("gres/gpu:2", 2), ("none", None),
    ],
)  # fmt: skip
def test_gpus_of_gres_are_counted(text, gpus):
    assert gpus_in(text, is_list=True) == gpus


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400), ("15:00", 900), ("02:00:00", 7200), ("1-12", 129600), ("2-00:30", 174600),
        ("1-0:0:1", 86401), ("x", None),
    ],
)  # fmt: skip
def test_times_are_read_like_sbatch(text, seconds):
    assert slurm_seconds(text) == seconds
