"""A run on several nodes, launched for real on this machine: a stand-in for srun starts its members.

The trainer is a stand-in, too: it does what actions.json says, and writes down what it was told.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hpcdl import planfile
from hpcdl.cluster import Cluster, Node
from hpcdl.contract.spec import DataSpec, MlpSpec, TrainSpec
from hpcdl.errors import RunError
from hpcdl.job import Job, Resources
from hpcdl.launch.attempt import attempt
from hpcdl.launch.command import read_plan
from hpcdl.launch.deadline import Deadline
from hpcdl.launch.member_end import MemberEnd, write_end
from hpcdl.launch.members import LeftWatcher
from hpcdl.launch.ports import address_towards, hold_port
from hpcdl.launch.program_run import ProgramRun
from hpcdl.planning import Script, plan
from hpcdl.run import Run
from hpcdl.run.paths import RunPaths
from hpcdl.scheduler.step import died_of_memory, srun, step_environment
from hpcdl.submission.locate import run_spec
from tests.launch.conftest import until

SRUN = """#!{python}
import os, subprocess, sys, time
options = [word for word in sys.argv[1:] if word.startswith("--")]
program = sys.argv[1 + len(options):]
count = int(dict(option[2:].split("=") for option in options)["nodes"])
children = []
for rank in range(count):
    if str(rank) in os.environ.get("ABSENT", ""):
        continue
    names = dict(SLURM_PROCID=str(rank), SLURMD_NODENAME="n%d" % (rank + 1), SLURM_NTASKS=str(count),
                 SLURM_STEP_NODELIST=os.environ["SLURM_JOB_NODELIST"], SLURM_LAUNCH_NODE_IPADDR="127.0.0.1")
    if str(rank) in os.environ.get("NO_NETWORK", ""):
        names["SLURM_LAUNCH_NODE_IPADDR"] = "255.255.255.255"
    children.append(subprocess.Popen(program, env=dict(os.environ, **names)))
waiting = dict(enumerate(children))
while waiting:
    for rank, child in list(waiting.items()):
        if child.poll() is None:
            continue
        del waiting[rank]
        if child.returncode:
            words = "srun: error: n%d: task %d: Killed" % (rank + 1, rank)
            with open(os.environ["SRUN_WORDS"], "a") as file:
                print(words, file=file)
    time.sleep(0.02)
sys.exit(max(child.wait() % 256 for child in children))
"""
TRAINER = """
import json, os, signal, socket, sys, time
run = os.path.dirname(sys.argv[1])
config = json.loads(os.environ["TF_CONFIG"])
rank = config["task"]["index"]
own = os.path.join(run, "workers", str(rank)) if rank else run
print("worker", rank, "was here", flush=True)
host, port = config["cluster"]["worker"][rank].split(":")
with socket.socket() as server:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.bind((host, int(port)))
    server.listen()
with open(os.path.join(own, "told.json"), "w") as file:
    json.dump(dict(os.environ), file)
action = json.load(open(os.path.join(run, "actions.json"))).get(str(rank), "done")
def fail(kind, status):
    with open(os.path.join(own, "failure.json"), "w") as file:
        json.dump({"kind": kind, "message": "what %s said" % kind, "hint": "a hint"}, file)
    sys.exit(status)
if action == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if action == "with_member":
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
if action == "peer":
    time.sleep(0.5)
    fail("peer", 70)
if action == "user_code":
    fail("user_code", 1)
if action == "device":
    fail("device", 69)
if action == "wait":
    time.sleep(600)
if action == "stop":
    sys.exit(75)
if rank == 0:
    with open(os.path.join(run, "result.json"), "w") as file:
        json.dump({"state": "done"}, file)
"""


@dataclass
class NodesRun:
    """A run on two nodes, and how to run its attempts."""

    paths: RunPaths
    set_variable: Callable[[str, str], None]

    def attempt(self, **actions: str) -> int:
        """Run an attempt; what the worker of each rank does, by names such as ``r1``."""
        by_rank = {name.removeprefix("r"): action for name, action in actions.items()}
        (self.paths.root / "actions.json").write_text(json.dumps(by_rank))
        return attempt(self.paths, "77")

    def ends(self) -> list[dict[str, Any]]:
        lines = self.paths.attempts.read_text().splitlines()
        return [row for row in map(json.loads, lines) if row["event"] == "end"]

    def told(self, rank: int) -> dict[str, str]:
        own = self.paths.root / f"workers/{rank}" if rank else self.paths.root
        variables: dict[str, str] = json.loads((own / "told.json").read_text())
        return variables

    def json(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.paths.root / name).read_text())
        return content


@pytest.fixture
def nodes_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodesRun:
    root = tmp_path / "runs" / "a" / "1"
    code = tmp_path / "runs" / ".code" / "x"
    (code / "hpcdl" / "trainer").mkdir(parents=True)
    (code / "hpcdl" / "__init__.py").write_text("")
    (code / "hpcdl" / "trainer" / "__main__.py").write_text(TRAINER)
    (tmp_path / "mnist.npz").write_bytes(b"1234")
    job = Job(
        name="a",
        data=DataSpec(path=str(tmp_path / "mnist.npz")),
        model=MlpSpec(),
        train=TrainSpec(),
        resources=Resources(gpus=0, nodes=2),
        source="a.yaml",
        folder=str(tmp_path),
    )
    cluster = Cluster(name="site", node=Node(cpus=1), data_root=str(tmp_path))
    spec = run_spec(job, cluster)
    assert spec is not None
    (root / "user").mkdir(parents=True)
    paths = RunPaths(root)
    paths.logs.mkdir()
    paths.plan.write_text(json.dumps(planfile.to_json(plan(job, cluster))))
    paths.spec.write_text(spec.to_json())
    paths.manifest.write_text(json.dumps({"code": {"folder": str(code)}}))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "srun").write_text(SRUN.format(python=sys.executable))
    (programs / "srun").chmod(0o755)
    for name, value in {
        "PATH": f"{programs}:/usr/bin:/bin",
        "SLURM_JOB_ID": "77",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURMD_NODENAME": "n1",
        "SLURM_MEM_PER_CPU": "1",
        "http_proxy": "http://proxy.site:3128",
        "SRUN_WORDS": str(paths.batch_log).replace("%j", "77"),
    }.items():
        monkeypatch.setenv(name, value)
    return NodesRun(paths, monkeypatch.setenv)


def test_members_meet_and_end(nodes_run):
    assert nodes_run.attempt() == 0

    result = nodes_run.json("result.json")
    assert (result["state"], result["attempts"][0]["nodes"]) == ("done", ["n1", "n2"])
    first, second = nodes_run.told(0), nodes_run.told(1)
    configs = [json.loads(told["TF_CONFIG"]) for told in (first, second)]
    assert configs[0]["cluster"] == configs[1]["cluster"]
    assert [config["task"]["index"] for config in configs] == [0, 1]
    addresses = configs[0]["cluster"]["worker"]
    assert len(set(addresses)) == 2
    assert all(address.startswith("127.0.0.1:") for address in addresses)
    assert second["TF_GRPC_REUSE_PORT"] == "1"
    assert second["no_grpc_proxy"] == "127.0.0.1,localhost"
    assert second["HPCDL_STOP_FILE"] == str(nodes_run.paths.stop)
    assert "worker 0 was here" in nodes_run.paths.log(1).read_text()
    assert "worker 1 was here" in (nodes_run.paths.root / "workers/1/logs/1.log").read_text()


def test_stopped_members_run_again(nodes_run):
    nodes_run.paths.stop.touch()

    assert nodes_run.attempt(r0="stop", r1="stop") == 75
    assert nodes_run.attempt() == 0
    assert [end["reason"] for end in nodes_run.ends()] == ["preempted", "done"]
    assert not (nodes_run.paths.root / "workers/attempt-1").exists()


def test_killed_worker_is_gone_on_with(nodes_run):
    """Srun's exit status is the highest; worker 0 says only that it lost the other one."""
    assert nodes_run.attempt(r0="peer", r1="killed") == 75

    (end,) = nodes_run.ends()
    assert (end["reason"], end["status"], end["node"]) == ("killed", -9, "n1")
    assert "worker 1 on n2 ended first" in nodes_run.paths.log(1).read_text()


def test_member_that_dies_of_memory(nodes_run):
    """Where SLURM has the kernel end all of a task, its member writes no end: srun tells why."""
    words = "slurmstepd: error: Detected 1 oom_kill event\nsrun: error: n2: task 1: Out Of Memory\n"
    log = Path(str(nodes_run.paths.batch_log).replace("%j", "77"))
    log.write_text(f"attempt 1 of /a on n1, n2\n{words}")

    assert nodes_run.attempt(r0="peer", r1="with_member") == 75
    log.write_text(f"attempt 1 of /a on n1, n2\n{words}attempt 2 of /a on n1, n2\n{words}")
    assert nodes_run.attempt(r0="peer", r1="with_member") == 1

    result = nodes_run.json("result.json")
    assert (result["state"], result["cause"]) == ("failed", "out_of_memory")
    assert not died_of_memory(0, words)
    assert died_of_memory(4, "srun: error: n[1-6]: tasks 0,3-5: Out Of Memory\n")


def test_srun_that_starts_nobody(nodes_run):
    nodes_run.set_variable("ABSENT", "01")

    assert [nodes_run.attempt(), nodes_run.attempt()] == [75, 1]

    message = nodes_run.json("result.json")["message"]
    assert message.startswith("no worker has come: srun ended with exit status 1, and says why in ")
    assert "slurm-77.out" in message


def test_failed_worker_is_named(nodes_run):
    assert nodes_run.attempt(r0="peer", r1="user_code") == 1

    result = nodes_run.json("result.json")
    assert (result["state"], result["cause"]) == ("failed", "user_code")
    assert result["message"] == "worker 1 on n2: what user_code said"
    assert "worker 1 was here" in nodes_run.paths.log(1).read_text()


def test_node_of_a_bad_device_is_named(nodes_run):
    """It is the one that `hpcdl retry` leaves out."""
    assert nodes_run.attempt(r0="peer", r1="device") == 69

    (end,) = nodes_run.ends()
    assert (end["reason"], end["node"]) == ("failed", "n2")
    status = Run(nodes_run.paths.root).status()
    assert (status.cause, status.node) == ("device", "n2")


def test_member_that_never_comes_is_left(nodes_run):
    nodes_run.set_variable("ABSENT", "1")
    nodes_run.set_variable("HPCDL_MEETING_S", "0.5")

    assert nodes_run.attempt() == 75

    (end,) = nodes_run.ends()
    assert (end["reason"], end["node"], end["nodes"]) == ("unfit_node", "n2", ["n1", "n2"])
    assert "worker 1 on n2 did not start" in nodes_run.paths.log(1).read_text()


def test_unfit_node_is_left_at_once(nodes_run):
    """The other member does not wait for a minute."""
    (nodes_run.paths.root.parents[2] / "mnist.npz").unlink()

    assert nodes_run.attempt() == 75

    (end,) = nodes_run.ends()
    assert (end["reason"], end["status"], end["node"]) == ("unfit_node", 65, "n1")
    assert "mnist.npz: No such file" in nodes_run.paths.log(1).read_text()


def test_node_without_network_is_left(nodes_run):
    nodes_run.set_variable("NO_NETWORK", "1")

    assert nodes_run.attempt() == 75

    (end,) = nodes_run.ends()
    assert (end["reason"], end["status"], end["node"]) == ("unfit_node", 69, "n2")
    assert "error: n2: no network leads from" in nodes_run.paths.log(1).read_text()


def test_killed_launch_leaves_nobody(nodes_run):
    """Neither members nor trainers: the next attempt would meet them."""
    (nodes_run.paths.root / "actions.json").write_text('{"0": "wait", "1": "wait"}')
    words = "import sys; from hpcdl.launch import launch; launch(sys.argv[1])"
    launch = subprocess.Popen([sys.executable, "-c", words, str(nodes_run.paths.root)])
    try:
        told = [nodes_run.paths.root / "told.json", nodes_run.paths.root / "workers/1/told.json"]
        until(lambda: all(path.exists() for path in told))
    finally:
        launch.kill()
        launch.wait()

    until(lambda: not processes_of(nodes_run))


def processes_of(nodes_run: NodesRun) -> list[str]:
    """The command lines of the processes that name the run."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if str(nodes_run.paths.root) in line:
                lines.append(line)
    return lines


SCRIPT_OF_RANKS = """
import json, os, signal, sys, time
rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
if rank == 0:
    time.sleep({wait_s})
elif {is_killed}:
    os.kill(os.getppid(), signal.SIGKILL)
sys.exit(rank)
"""


@pytest.fixture
def script_run(nodes_run):
    plan_of_training = json.loads(nodes_run.paths.plan.read_text())
    program = {"kind": "script", **asdict(Script("s.py"))}
    nodes_run.paths.plan.write_text(json.dumps({**plan_of_training, "program": program}))
    return nodes_run


def test_failed_worker_fails_a_script(script_run):
    """Worker 0 is given time to end, and ends well."""
    text = SCRIPT_OF_RANKS.format(wait_s=2, is_killed=False)
    (script_run.paths.user / "s.py").write_text(text)

    assert script_run.attempt() == 1
    assert script_run.json("result.json")["cause"] == "user_code"


def test_killed_member_ends_a_script(script_run, monkeypatch):
    """It writes no end, so only srun knows; worker 0 would wait until the time limit."""
    monkeypatch.setattr("hpcdl.launch.members.LEAVE_S", 1)
    text = SCRIPT_OF_RANKS.format(wait_s=600, is_killed=True)
    (script_run.paths.user / "s.py").write_text(text)

    assert script_run.attempt() == 1
    assert script_run.json("result.json")["state"] == "failed"


def test_others_of_a_failed_script_are_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("hpcdl.launch.members.LEAVE_S", 5)
    step = subprocess.Popen(["/bin/sleep", "600"])
    words = [""]
    watcher = LeftWatcher(tmp_path, 2, lambda: words[0])
    try:
        watcher.look(100.0, step.pid)
        write_end(tmp_path, MemberEnd(0, "n1", 0))
        watcher.look(200.0, step.pid)  # worker 1 may work alone
        words[0] = "srun: error: n2: task 1: Exited with exit code 75\n"
        watcher.look(210.0, step.pid)  # srun knows before this node sees the file
        write_end(tmp_path, MemberEnd(1, "n2", 75))
        watcher.look(290.0, step.pid)
        write_end(tmp_path, MemberEnd(1, "n2", 1))
        watcher.look(300.0, step.pid)
        watcher.look(304.0, step.pid)
        assert step.poll() is None
        watcher.look(306.0, step.pid)
        assert step.wait(60) == -signal.SIGKILL
    finally:
        step.kill()
        step.wait()


@pytest.mark.parametrize("has_come", [False, True])
def test_member_without_an_end(tmp_path, monkeypatch, has_come):
    """The step is ended if it had come; of one that never came the others say so themselves."""
    killed: list[int] = []
    monkeypatch.setattr("hpcdl.launch.members.kill_tree", killed.append)
    if has_come:
        (tmp_path / "1.json").write_text("{}")
    watcher = LeftWatcher(tmp_path, 2, lambda: "srun: error: n2: task 1: Exited with exit code 3\n")

    for now in (100.0, 170.0):
        watcher.look(now, 7)

    assert killed == ([7] if has_come else [])


def test_unreadable_list_of_nodes_is_said(nodes_run):
    nodes_run.set_variable("SLURM_JOB_NODELIST", "n[1-")

    assert nodes_run.attempt() == 1
    assert "'n[1-' is not one of SLURM's" in nodes_run.json("result.json")["message"]
    assert "error: the list of nodes 'n[1-' is not one" in nodes_run.paths.log(1).read_text()


def test_one_node_of_a_range_needs_no_srun(nodes_run):
    nodes_run.set_variable("SLURM_JOB_NODELIST", "n1")
    trainer = Path(nodes_run.json("manifest.json")["code"]["folder"]) / "hpcdl/trainer/__main__.py"
    trainer.write_text(
        "import os\nprint('alone', 'TF_CONFIG' in os.environ)\nraise SystemExit(75)\n"
    )
    nodes_run.paths.stop.touch()

    assert nodes_run.attempt() == 75
    assert "alone False" in nodes_run.paths.log(1).read_text()


def test_one_node_of_a_range_counts_as_one(nodes_run):
    """Its samples say so, and its watchdog does not take it for several replicas."""
    of_range = read_plan(nodes_run.paths)
    alone = ProgramRun(nodes_run.paths, of_range, 1, "77", Deadline(nodes_run.paths, None, 0.0))

    assert alone.plan_here.size.nodes == 1
    assert replace(alone, workers={"TF_CONFIG": "{}"}).plan_here.size.nodes == 2


def test_srun_options_are_explicit():
    argv = srun(3, 20, ["python", "-m", "x"], 0)

    assert argv == [
        *("srun", "--nodes=3", "--ntasks=3", "--ntasks-per-node=1", "--cpus-per-task=20"),
        *("--kill-on-bad-exit=0", "--wait=0", "--input=all", "--export=ALL", "--mpi=none"),
        *("python", "-m", "x"),
    ]
    job = {"SLURM_MEM_PER_CPU": "1", "SLURM_NTASKS": "7", "SLURM_JOB_ID": "3", "PATH": "/bin"}
    assert step_environment(job) == {"SLURM_JOB_ID": "3", "PATH": "/bin"}


def test_held_port_is_nobody_elses():
    with closing(hold_port()) as held:
        port = held.getsockname()[1]
        with pytest.raises(RunError, match=f"no port from {port} to {port} .* is free"):
            hold_port([port, port])
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            server.bind(("", port))
            server.listen()
            with socket.create_connection(("127.0.0.1", port), timeout=10):
                server.accept()[0].close()


def test_address_leads_to_launch():
    assert address_towards("127.0.0.1") == "127.0.0.1"
