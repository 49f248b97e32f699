"""Each script of the corpus, adopted and rendered: every #SBATCH option of the original means the same there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from hpcdl.batchscript.model import BatchScript
from hpcdl.batchscript.read import read_script

CORPUS = Path(__file__).parents[1] / "batchscript" / "corpus"
PROFILE = """
name: site
node: {cpus: 80, gpus: 4, memory_gb: 488}
images: {tensorflow: /images/tensorflow.sif}
runtime: singularity
data_root: /data
"""
# Scripts that no job file can do the same as, each with the words that say why
REFUSED = {
    "a-card-for-each-task.slurm": "this starts 4",
    "counts-that-disagree.slurm": "runs a Python script, and this is none",
    "four-started-of-one.slurm": "this starts 4",
    "heredoc-program.sh": "starts another one",
    "mpi-on-cpus.cmd": "runs a Python script, and this is none",
    "nv-on-cpus.sbatch": "in a loop",
    "packed-tasks.slurm": "in a loop",
    "plain-sh.sbatch": "in a loop",
    "rates-in-a-loop.sh": "starts another one",
    "strict-local-scratch.slurm": "known to the running script alone",
    "two-kinds-of-nodes.slurm": "nodes of one kind",
    # not before its folder is there: it is one of the login node's
    "folder-of-the-login-node.sh": "",
}
ADOPTED = sorted(
    path.name
    for path in CORPUS.iterdir()
    if path.is_file() and path.suffix != ".json" and path.name not in REFUSED
)
# Options of sbatch that a job does not carry as they are, each with the reason
NOT_CARRIED = {
    "output": "the log is in the run's folder",
    "error": "the log is in the run's folder",
    "open-mode": "hpcdl writes its own, append",
    "job-name": "where a job's name cannot have its characters",
    "array": "a job is one task",
    "export": "a job gets no variable of the shell",
    "get-user-env": "a job gets no variable of the shell",
    "signal": "the batch shell gets USR2; the time before the limit is carried",
    "mem": "0 is all that a node has: a job names its memory",
    "mem-per-cpu": "beside --mem, of which sbatch takes one alone",
    "account": "a placeholder",
    "walltime": "no option of sbatch's",
}
IN_GIB = {"K": 1 / 1024**2, "M": 1 / 1024, "": 1 / 1024, "G": 1, "T": 1024}


def seconds(text: str) -> int:
    """Of a time as sbatch reads it."""
    days, dash, rest = text.rpartition("-")
    numbers = [int(number) for number in rest.split(":")]
    if dash:
        numbers = [*numbers, 0, 0][:3]
    elif len(numbers) == 1:
        numbers = [0, *numbers, 0]
    elif len(numbers) == 2:
        numbers = [0, *numbers]
    return int(days or 0) * 86400 + numbers[0] * 3600 + numbers[1] * 60 + numbers[2]


def gpus(script: BatchScript) -> tuple[int, str]:
    """GPUs of a node, and their type."""
    for name in ("gpus-per-node", "gres", "gpus"):
        value = script.value(name)
        if value:
            *kind, count = value.removeprefix("gpu:").split(":")
            return int(count), "".join(kind)
    return 0, ""


def memory_gib(script: BatchScript, cpus: int) -> float | None:
    """Memory of a node."""
    for name, share in (("mem", 1), ("mem-per-cpu", cpus)):
        match = re.fullmatch(r"(\d+)([KMGT]?)", script.value(name) or "")
        if match and match[1] != "0":
            return round(int(match[1]) * IN_GIB[match[2]] * share, 4)
    return None


def meaning(script: BatchScript) -> dict[str, object]:
    """What a script asks sbatch for, by node, whichever options say it."""
    tasks = int(script.value("ntasks-per-node") or script.value("ntasks") or 1)
    cpus = int(script.value("cpus-per-task") or 1) * tasks
    asked: dict[str, object] = {
        "nodes": script.value("nodes") or "1",
        "cpus": cpus,
        "gpus": gpus(script),
        "memory": memory_gib(script, cpus),
    }
    if script.value("time"):
        asked["time"] = seconds(script.value("time") or "")
    of_size = (*("nodes", "ntasks", "ntasks-per-node", "cpus-per-task", "gres", "gpus", "mem"),)
    for given in script.directives:
        if given.name not in (*of_size, "gpus-per-node", "mem-per-cpu", "time"):
            asked[given.name] = given.value or True
    if "chdir" in asked:
        asked["chdir"] = str(Path(script.value("chdir") or "").resolve())
        if script.commands_named("cd"):
            del asked["chdir"]  # the program starts elsewhere
    return asked


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A copy of the corpus, with a profile beside it."""
    folder = tmp_path / "corpus"
    shutil.copytree(CORPUS, folder)
    (folder / "site.yaml").write_text(PROFILE)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    return folder


@pytest.mark.parametrize("name", ADOPTED)
def test_adopted_script_keeps_its_directives(cli, corpus, name):
    script = read_script(Path(name))

    adopted = cli("adopt", name, "-o", "job.yaml")
    assert (adopted.code, adopted.out) == (0, "job.yaml\n"), adopted.err
    left = {item.name for item in script.directives if f": {item.text}: " in adopted.err}
    assert left <= set(NOT_CARRIED)

    rendered = cli("render", "job.yaml", "-c", "site.yaml", "-o", "again.slurm")
    assert rendered.code == 0, rendered.err
    before, after = meaning(script), meaning(read_script(Path("again.slurm")))
    for key, value in before.items():
        if key not in left and (key, value) != ("memory", None):
            assert after.get(key) == value, key
    if "signal" in before:
        lead = str(before["signal"]).rpartition("@")[2]
        assert str(after["signal"]).rpartition("@")[2] == lead


def test_whole_corpus_is_covered():
    assert len(ADOPTED) + len(REFUSED) == 40


@pytest.mark.parametrize("name", [name for name, words in REFUSED.items() if words])
def test_refused_script_says_why(cli, corpus, name):
    answer = cli("adopt", name, "-o", "job.yaml")

    assert (answer.code, answer.out) == (2, "")
    assert f"hpcdl: {name} cannot be a job file" in answer.err
    assert REFUSED[name] in answer.err
    assert re.search(rf"  {re.escape(name)}:\d+: ", answer.err)
    assert not Path("job.yaml").exists()
