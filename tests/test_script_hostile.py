"""Hostile values in batch scripts: refused, or carried unchanged through real bash, and never executed."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hpcdl.cluster import Cluster, Image, Node
from hpcdl.container import Places, command
from hpcdl.contract.spec import DataSpec, MlpSpec, TrainSpec
from hpcdl.errors import JobError, UserError
from hpcdl.job import Job
from hpcdl.planning import Plan, Script, plan
from hpcdl.script import Sent, render, render_submission

# What bash, sbatch and Jinja would each like to read their own way
WORDS = [
    "a",
    "Z9",
    "é",
    "名",
    " ",
    "  ",
    "\n",
    "\r",
    "\t",
    "\u2028",
    "\x1b[31m",
    "\x7f",
    "\ufeff",
    "-",
    "--",
]
MARKS = [*"'\"`\\$<*?~!#=,:@()&|;%", "$$", "!!", "[a]", "{a,b}", "${HOME}", "%j"]
DEEDS = [
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned;",
    "&& touch pwned",
    "| touch pwned",
    "> pwned",
]
LINES = ["\n#SBATCH --account=evil\n", "\n)\ntouch pwned\nrun=(\n", "{{ plan }}", "{% raw %}"]
hostile = st.lists(st.sampled_from(WORDS + MARKS + DEEDS + LINES), max_size=6).map("".join)
segment = hostile.map(lambda text: text or "x")
variable = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
bounded = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
)

SITE = Cluster(name="site", node=Node(cpus=8, gpus=2), modules=["m/1"])


def run_in_bash(script: str, folder: str, tail: str) -> list[str]:
    """Run a batch script up to its protocol, in a folder; the words that tail prints, each ended by NUL."""
    subprocess.run(["bash", "-n"], input=script.encode(), check=True)
    head, _, protocol = script.rpartition("\n# SLURM warns this shell")
    assert 'trap \'touch "$HPCDL_STOP_FILE"\' USR2\n"${run[@]}" &\n' in protocol
    environment = {
        "PATH": os.environ["PATH"],
        "SLURM_JOB_ID": "77",
        "CUDA_VISIBLE_DEVICES": "0,1",
        "LC_ALL": "C.UTF-8",
    }
    text = f"module() {{ :; }}\n{head}\n{tail}\n".encode()
    done = subprocess.run(
        ["bash", "-u"], input=text, cwd=folder, env=environment, capture_output=True, check=True
    )
    assert done.stderr == b""
    return done.stdout.decode().split("\0")[:-1]


def directives(script: str) -> list[str]:
    """The #SBATCH lines that sbatch reads: those before the first command."""
    lines = script.splitlines()
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    return [line for line in lines[:first_command] if line.startswith("#SBATCH")]


def assert_directives_of(script: str, decided: Plan, logs: list[str]) -> None:
    """Each directive is one line, and there is none that was not meant."""
    names = [*logs, *(name for name, _ in decided.directives)]
    found = directives(script)
    assert [line.split("=")[0] for line in found] == [f"#SBATCH --{name}" for name in names]
    assert all(line.isprintable() for line in found)


@bounded
@given(
    args=st.lists(hostile, max_size=4),
    env=st.dictionaries(variable, hostile, max_size=3),
    script=segment,
    workdir=st.none() | segment,
    data_root=segment,
    image=segment,
    bind=segment,
    source=hostile,
    here=segment.map(lambda text: text.replace("/", "").replace(":", "")),  # --bind splits at ":"
)
def test_script_job_words_survive(args, env, script, workdir, data_root, image, bind, source, here):
    with tempfile.TemporaryDirectory() as base:
        folder = f"{base}/{here}."
        os.mkdir(folder)
        job = Job(
            name="a", script=f"{base}/{script}.py", args=args, env=env, workdir=workdir and f"/w/{workdir}",
            source=source, folder=base,
        )  # fmt: skip
        site = replace(
            SITE,
            data_root=f"/d/{data_root}",
            images={"tensorflow": Image(f"/i/{image}")},
            binds=[f"/b/{bind}"],
        )
        try:
            decided = plan(job, site)
        except JobError:
            assert set(data_root + (workdir or "")) & set(
                ":,"
            )  # Apptainer cannot bind such a folder
            return
        try:
            text = render(decided)
        except UserError as error:
            assert workdir is not None, error
            assert (
                not workdir.isprintable() or "\\" in workdir or ("'" in workdir and '"' in workdir)
            )
            return

        words = run_in_bash(text, folder, r"""printf '%s\0' "${run[@]}" """)

        needed = [folder, f"/d/{data_root}", *([base] if workdir else [])]
        places = Places(
            folder,
            f"{folder}/.hpcdl",
            f"{folder}/stop.77",
            binds=needed,
            visible_devices="0,1",
            attempt="1",
        )
        assert isinstance(decided.program, Script)
        shown = decided.program.script
        program = ["python", f"./{shown}" if shown.startswith("-") else shown, *args]
        assert words == [word for line in command(decided, places, program) for word in line]
        assert_directives_of(text, decided, ["job-name", "chdir", "output", "error"])
        keras = Path(folder, ".hpcdl", ".keras")
        made = sorted(path.relative_to(folder) for path in Path(folder).rglob("*"))
        assert [str(path) for path in made] == [
            ".hpcdl", ".hpcdl/.keras", ".hpcdl/.keras/datasets", ".hpcdl/.keras/datasets/*", ".hpcdl/.keras/models"
        ]  # fmt: skip
        assert (
            os.readlink(keras / "datasets" / "*") == f"/d/{data_root}/*"
        )  # nothing is staged there
        assert os.readlink(keras / "models") == f"/d/{data_root}/models"
        assert os.listdir(base) == [f"{here}."]


@bounded
@given(root=segment, code=segment, python=segment)
def test_submission_words_survive(root, code, python):
    decided = plan(
        Job(name="a", data=DataSpec(name="m"), model=MlpSpec(), train=TrainSpec()),
        replace(SITE, images={"tensorflow": Image("/i/tf.sif")}),
    )
    run, worker = f"/r/{root}", [f"/p/{python}", "-m", "worker", f"/r/{root}/submitit"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            text = render_submission(
                decided, Sent(run, f"/c/{code}", worker, f"{run}/logs/slurm-%j.out")
            )
        except UserError:
            assert not root.isprintable() or "\\" in root or ("'" in root and '"' in root)
            return

        tail = (
            r"""printf '%s\0' "${run[@]}" "$HPCDL_STOP_FILE" "$SUBMITIT_EXECUTOR" "$PYTHONPATH" """
        )
        words = run_in_bash(text, folder, tail)

        assert words == [*worker, f"{run}/stop", "slurm", f"/c/{code}"]
        assert_directives_of(text, decided, ["job-name", "chdir", "output"])
        assert os.listdir(folder) == []


@bounded
@given(value=hostile)
def test_slurm_option_is_one_line(value):
    job = Job(name="a", script="/u/a.py", folder="/u", slurm={"comment": value})
    decided = plan(job, replace(SITE, images={"tensorflow": Image("/i/tf.sif")}))
    try:
        text = render(decided)
    except UserError:
        assert not value.isprintable() or "\\" in value or ("'" in value and '"' in value)
        return

    assert_directives_of(text, decided, ["job-name", "chdir", "output", "error"])
    (line,) = (line for line in directives(text) if line.startswith("#SBATCH --comment"))
    written = line.partition("=")[2]
    assert written == value or written[1:-1] == value or (value == "" and "=" not in line)
    if written != value and value:
        assert shlex.split(written.replace("$", "").replace("`", ""), posix=True) != [], (
            "quotes are closed"
        )
