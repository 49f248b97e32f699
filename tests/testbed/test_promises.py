"""`hpcdl cluster test` on a real SLURM: every promise kept, and each broken on purpose.

All tests of the site run at the same time: they wait for a time limit, mostly. A fault is planted as a site would have
it: in the profile, by a wrapper around SLURM's own command (many sites have one), or by what vanishes between the login
node's look and the job's start.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.testbed.conftest import IMAGES, LOGIN, VENV, Bed, new_bed, until

pytestmark = pytest.mark.testbed

LIMIT_BYTES = 500 << 20  # less than the job asks for: the kernel ends it


@dataclass
class Fault:
    """One planted fault: what is tried, keys of the profile, and shell lines before SLURM's own command."""

    only: str
    keys: str = ""
    wraps: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()
    advice: str = ""
    change: tuple[tuple[str, Any], ...] = ()


def before_sbatch(lines: str, options: str = "") -> tuple[tuple[str, str], ...]:
    return (
        (
            "sbatch",
            f'case " $* " in *--test-only*) ;; *) {lines or ":"} ;; esac\nexec /usr/bin/sbatch {options} "$@"\n',
        ),
    )


FAULTS = {
    "worker's Python": Fault(
        "worker",
        "host_python: FOLDER/python\n",
        before_sbatch("rm -f FOLDER/python"),
        ("ended before hpcdl's worker started", "FOLDER/python"),
        "host_python must be a Python with hpcdl",
    ),
    "module of the worker": Fault(
        "worker", "host_modules: [nowhere]\n", (), ("nowhere",), "(key of the profile: modules)"
    ),
    "image": Fault(
        "image",
        "images: {tensorflow: FOLDER/image.sif}\n",
        before_sbatch("rm -f FOLDER/image.sif"),
        ("the container did not start", "No such file"),
        "images must name files that the nodes can read",
    ),
    "GPUs are not given": Fault(
        "gpus",
        "",
        before_sbatch("", "--gres=none"),
        ("0 of 4 are visible",),
        "gpu_request: gpus-per-node",
        (("gpu_request", "gpus-per-node"),),
    ),
    "GPUs are not there": Fault(
        "gpus",
        "node: {cpus: 80, gpus: 5}\n",
        (),
        ("5 GPUs are asked for, but no node here has more than 4",),
        "ask for at most 4: resources.gpus",
    ),
    "driver": Fault(
        "driver", "emulate_gpus: false\n", (), ("no NVIDIA driver",), "try nvidia-smi in a job"
    ),
    "all-reduce": Fault(
        "all-reduce",
        "host_python: FOLDER/impatient\npass_env: [HPCDL_ALL_REDUCE_S]\n",
        (),
        ("an all-reduce over 4 replicas",),
        "NCCL_P2P_DISABLE",
    ),
    "data": Fault(
        "data",
        "data_root: FOLDER/data\n",
        before_sbatch("chmod 000 FOLDER/data"),
        ("data_root FOLDER/data", "Permission denied"),
        "name another one",
    ),
    "scratch": Fault(
        "scratch",
        "scratch: /nowhere\n",
        (),
        ("/nowhere", "No such file"),
        "without the key the node's default is used",
        (("scratch", None),),
    ),
    "warning": Fault(
        "warned",
        "",
        before_sbatch("", "--signal=B:CONT@40"),
        ("no warning came 40 s before the time limit",),
        "the site drops --signal",
        (("stop_margin_s", 120),),
    ),
    "requeue": Fault(
        "requeued",
        "",
        before_sbatch("", "--no-requeue"),
        ("SLURM did not run it again", "disabled"),
        "requeue: false",
        (("requeue", False),),
    ),
    "cancel": Fault(
        "cancel",
        "",
        (("scancel", '/usr/bin/scontrol requeue "${@: -1}"\n'),),
        ("a cancelled job",),
        "requeue: false",
        (("requeue", False),),
    ),
    "memory": Fault(
        "memory",
        "memory_request: mem\n",
        (),
        ("it asked for 1.0 GB, held 1.5 GB, and nothing ended it",),
        "ConstrainRAMSpace",
    ),
    "accounting": Fault(
        "accounting",
        "",
        (("sacct", 'SLURM_CONF=FOLDER/slurm.conf exec /usr/bin/sacct "$@"\n'),),
        ("sacct does not answer", "disabled"),
        "may read accounting",
    ),
}


def site(name: str, keys: str, wraps: tuple[tuple[str, str], ...]) -> Bed:
    """A folder of hpcuser's with its own profile, and its own commands first on PATH."""
    bed = new_bed(f"test-promises-{name}".replace(" ", "-").replace("'", ""))
    lines = bed.profile.read_text().splitlines()
    own = [line.replace("FOLDER", str(bed.folder)) for line in keys.splitlines()]
    changed = {line.partition(":")[0] for line in own}
    if "images" in changed:
        lines = [line for line in lines if not line.startswith("  ")]
    lines = [line for line in lines if line.partition(":")[0] not in changed]
    bed.write("testbed.yaml", "\n".join([*lines, *own]) + "\n")
    for command, text in wraps:
        path = bed.write(
            f"bin/{command}", "#!/bin/bash\n" + text.replace("FOLDER", str(bed.folder))
        )
        path.chmod(0o755)
    bed.environment["PATH"] = f"{bed.folder}/bin:{LOGIN['PATH']}"
    return bed


def prepare_fault(bed: Bed) -> None:
    """What some faults' profiles name: it is there while the login node looks."""
    bed.write("python", f'#!/bin/sh\nexec {VENV}/python "$@"\n').chmod(0o755)
    bed.run("ln", "-s", IMAGES / "tf2.21-py311.sif", "image.sif")
    bed.run("mkdir", "data")
    impatient = f'#!/bin/sh\nexport HPCDL_ALL_REDUCE_S=0.000001\nexec {VENV}/python "$@"\n'
    bed.write("impatient", impatient).chmod(0o755)
    conf = Path("/etc/slurm/slurm.conf").read_text()
    bed.write(
        "slurm.conf",
        "\n".join(
            line
            for line in conf.splitlines()
            if not line.startswith(
                (
                    "AccountingStorage",
                    "PriorityType",
                    "PreemptType",
                    "PreemptMode",
                    "PriorityWeight",
                )
            )
        )
        + "\n",
    )


def start(bed: Bed, *options: object) -> subprocess.Popen[str]:
    command = ["hpcdl", "cluster", "test", "-c", bed.profile, "--runs-dir", bed.runs, "--yes"]
    return bed.start(*command, "--json", *options)


def limit_memory(bed: Bed, group: Path) -> None:
    """Move the job that takes too much into a cgroup with a limit, as a site's SLURM does."""
    attempts = until(lambda: list(bed.runs.glob("cluster-test/*/test-memory/*/attempts.jsonl")))[0]
    line = until(lambda: attempts.read_text().splitlines())[0]
    leader = json.loads(line)["pid"]
    for _ in range(10):  # a process that forks meanwhile may hide a child
        for pid in (leader, *children(leader)):
            with suppress(OSError):
                (group / "cgroup.procs").write_text(str(pid))
        time.sleep(0.2)


def leave(bed: Bed, process: subprocess.Popen[str]) -> None:
    """Press Ctrl-C while its job runs, which takes minutes."""
    until(lambda: list(bed.runs.glob("cluster-test/*/test-stop/*/attempts.jsonl")))
    (command,) = children(process.pid)
    os.kill(command, signal.SIGINT)


def children(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from children(int(child))


@pytest.fixture(scope="module")
def group() -> Iterator[Path]:
    """A cgroup with little memory (version 1 or 2)."""
    v1 = Path("/sys/fs/cgroup/memory")
    folder = (v1 if v1.is_dir() else Path("/sys/fs/cgroup")) / "hpcdl-promises"
    folder.mkdir(exist_ok=True)
    name = "memory.limit_in_bytes" if v1.is_dir() else "memory.max"
    (folder / name).write_text(str(LIMIT_BYTES))
    yield folder
    for _ in range(50):
        with suppress(OSError):
            folder.rmdir()
        if not folder.exists():
            return
        time.sleep(0.2)


@dataclass
class Answer:
    """What a test of the site gave."""

    bed: Bed
    code: int
    content: dict[str, Any]
    err: str

    def promise(self, name: str) -> dict[str, Any]:
        (promise,) = [each for each in self.content["promises"] if each["name"] == name]
        return dict(promise)


@pytest.fixture(scope="module")
def answers(cluster: None, group: Path) -> Iterator[dict[str, Answer]]:
    """The site as it is under the name "", and each fault under its own."""
    beds = {"": site("kept", "memory_request: mem\n", ())}
    for name, fault in FAULTS.items():
        keys = fault.keys
        if fault.only in ("warned", "requeued"):
            keys += "signal_lead_s: 40\n"
        beds[name] = site(name, keys, fault.wraps)
        prepare_fault(beds[name])
    processes = {"": start(beds[""], "--html", "page.html")}
    threading.Thread(target=limit_memory, args=(beds[""], group), daemon=True).start()
    for name, fault in FAULTS.items():
        processes[name] = start(beds[name], "--only", fault.only, "--fix")
    beds["clock"] = site(
        "clock", "signal_lead_s: 40\nstop_margin_s: 120\n", FAULTS["warning"].wraps
    )
    processes["clock"] = start(beds["clock"], "--only", "warned")
    beds["left"] = site("left", "", ())
    processes["left"] = start(beds["left"], "--only", "warned")
    leave(beds["left"], processes["left"])
    made = {}
    for name, process in processes.items():
        out, err = process.communicate(timeout=400)
        made[name] = Answer(beds[name], process.returncode, json.loads(out or "{}"), err)
        assert out, (name, err)
    yield made
    for bed in beds.values():
        subprocess.run(["rm", "-rf", bed.folder], check=False)


def test_site_keeps_all_promises(answers: dict[str, Answer]) -> None:
    answer = answers[""]
    outcomes = {each["name"]: each["outcome"] for each in answer.content["promises"]}

    assert outcomes.pop("driver") == "does not apply"
    assert set(outcomes.values()) == {"kept"}, answer.content["promises"]
    assert (answer.code, len(outcomes)) == (0, 13)
    assert "at most 8 GPU-minutes" in answer.err
    assert "equal to the undisturbed training's" in answer.promise("resumed")["finding"]


def test_runs_and_page_are_kept(answers: dict[str, Answer]) -> None:
    answer = answers[""]
    folder = Path(answer.content["folder"])

    assert (folder / "report.html").read_text() == (answer.bed.folder / "page.html").read_text()
    assert json.loads((folder / "cluster-test.json").read_text()) == answer.content
    assert len(list(folder.glob("*/*/manifest.json"))) == 5
    for job in answer.content["jobs"].values():
        assert Path(job["folder"]).is_relative_to(folder)


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_named(answers: dict[str, Answer], name: str) -> None:
    fault, answer = FAULTS[name], answers[name]
    promise = answer.promise(fault.only)

    assert (answer.code, promise["outcome"]) == (2, "broken"), (promise, answer.err)
    for word in fault.words:
        assert word.replace("FOLDER", str(answer.bed.folder)) in promise["finding"]
    assert fault.advice in promise["advice"]
    assert promise["change"] == dict(fault.change)


def test_own_clock_stands_in(answers: dict[str, Answer]) -> None:
    """The profile is right for a site that drops --signal, and is left as it is."""
    answer = answers["clock"]
    promise = answer.promise("warned")

    assert (answer.code, promise["outcome"], promise["change"]) == (0, "kept", {}), promise
    assert "no warning came 40 s before the time limit; hpcdl's own clock" in promise["finding"]


def test_ctrl_c_cancels_all_jobs(answers: dict[str, Answer]) -> None:
    """What is known by then is shown, and nobody's job stays."""
    answer = answers["left"]
    promise = answer.promise("warned")

    assert (answer.code, promise["outcome"]) == (130, "not tried")
    assert "cancelled all jobs of the test" in answer.err
    assert answer.content["jobs"]["stop"]["state"] == "cancelled"
    assert "It was left early" in answer.content["notes"][0]


def test_nobody_to_ask_sends_nothing(answers: dict[str, Answer]) -> None:
    bed = answers["memory"].bed
    options = ("--only", "worker", "--runs-dir", bed.folder / "unused")
    done = bed.run("hpcdl", "cluster", "test", "-c", bed.profile, *options, check=False)

    assert done.returncode == 2
    assert "nobody can be asked here whether to send these jobs; say --yes" in done.stderr
    assert not (bed.folder / "unused").exists()


def test_refused_job_has_a_remedy(bed: Bed) -> None:
    words = ("--only", "worker", "--dry-run", "-s", "cluster.account=wrong")
    done = bed.run("hpcdl", "cluster", "test", "-c", bed.profile, *words)

    assert "test of testbed: 0 tiny jobs, at most 0 GPU-minutes" in done.stderr
    assert "node cannot be sent: you have no account wrong; use one of yours" in done.stderr


def test_fault_leaves_no_job_behind(answers: dict[str, Answer]) -> None:
    """SLURM may still be ending the processes of a job whose time was over."""

    def nothing_left() -> bool:
        argv = ["squeue", "--noheader", "--format=%T %Z"]
        lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
        own = [line for line in lines if "/test-promises-" in line]
        assert all(line.startswith("COMPLETING") for line in own), own
        return not own

    assert until(nothing_left)


@pytest.mark.parametrize(
    ("name", "line"), [("cancel", "requeue: false"), ("scratch", "scratch: null")]
)
def test_fix_writes_into_the_profile(answers: dict[str, Answer], name: str, line: str) -> None:
    answer = answers[name]
    profile = answer.bed.profile.read_text()

    assert f"+{line}\n" in answer.err
    assert profile.splitlines().count(line) == 1
    assert profile.startswith("# The test bed's cluster")
