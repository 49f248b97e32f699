"""The watchdog: what moves, what stands still, and real trainers that hang."""

from __future__ import annotations

import json
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from hpcdl.launch.command import read_plan
from hpcdl.launch.processes import kill_tree
from hpcdl.launch.progress import Progress, Signs
from hpcdl.launch.stall import Alone, AwakeClock, Watchdog, stall_s, variables_after_stall
from hpcdl.launch.stall_of_step import OneOfSeveral, StepWatchdog
from hpcdl.launch.trainer_processes import is_suspended
from hpcdl.planning import Plan
from hpcdl.run.paths import RunPaths
from hpcdl.run.worker_paths import meeting
from tests.launch.conftest import Machine, until
from tests.launch.test_launch_members import NodesRun, nodes_run  # noqa: F401

HANGING_FUNCTION = """
import time
def load():
    while True:
        time.sleep(60)
"""
NODES = ["n1", "n2"]
NO_PID = 2**22 + 1  # above the largest
# Of several workers: the first is busy with what only it does, the second waits for it
STAND_IN = """
import faulthandler, json, os, signal, sys, time
faulthandler.register(signal.SIGUSR1)
config = json.loads(os.environ["TF_CONFIG"])
rank = config["task"]["index"]
run = os.path.dirname(sys.argv[1])
own = os.path.join(run, "workers", str(rank)) if rank else run
action = json.load(open(os.path.join(run, "actions.json"))).get(str(rank), "stall")
def beat(step):
    beat = dict(phase="training", step=step, time=time.time(), attempt=int(os.environ["HPCDL_ATTEMPT"]))
    with open(os.path.join(own, "aside"), "w") as file:
        json.dump(beat, file)
    os.replace(os.path.join(own, "aside"), os.path.join(own, "heartbeat.json"))
def stands_still():
    time.sleep(600)
for step in range(3):
    beat(step)
    time.sleep(0.3)
done = os.path.join(run, "done")
if action == "work":
    for step in range(100):
        beat(step)
        time.sleep(0.1)
    open(done, "w").close()
if action == "wait":
    while not os.path.exists(done):
        time.sleep(0.1)
if action == "stall":
    stands_still()
if rank == 0:
    with open(os.path.join(run, "result.json"), "w") as file:
        json.dump({"state": "done"}, file)
"""


class Looks:
    """A progress that is looked at every 5 seconds."""

    def __init__(self, replicas: int = 1, phase: str = "training") -> None:
        self.now_s = 0.0
        self.signs = Signs(phase=phase, beat=0.0)
        self.progress = Progress(0.0, replicas)
        self.progress.see(0.0, self.signs)

    def beats(self, *after_s: float) -> Looks:
        """A heartbeat after so many seconds, and again."""
        for seconds in after_s:
            self.now_s += seconds
            self.signs = replace(self.signs, beat=self.now_s)
            self.progress.see(self.now_s, self.signs)
        return self

    def over_after_s(self, most_s: float = 90_000, **growing: float) -> float | None:
        """After which silence it is over; what grows by the second meanwhile."""
        began_s = self.now_s
        while self.now_s - began_s < most_s:
            self.now_s += 5
            more = {name: getattr(self.signs, name) + 5 * by for name, by in growing.items()}
            self.signs = replace(self.signs, **more)
            self.progress.see(self.now_s, self.signs)
            if self.progress.is_over:
                return self.now_s - began_s
        return None


def test_silence_is_measured_by_usual_call():
    assert Looks().beats(5, 5, 5, 5).over_after_s() == 305
    assert Looks().beats(60, 60, 60).over_after_s() == 1205
    # The first call compiles: another graph, for the last batch, may take as long
    assert Looks().beats(720, 5, 5, 5).over_after_s() == 1445
    assert Looks().over_after_s() == 605
    assert Looks(phase="loading").over_after_s() == 605


def test_other_phase_counts_anew():
    looks = Looks().beats(60, 60, 60)
    looks.signs = replace(looks.signs, phase="exporting")

    assert looks.beats(5).over_after_s() == 605


def test_signs_of_life_are_trusted_for_a_while():
    day = 86_400.0
    compiling, loading = Looks(2, "compiling"), Looks(2, "loading")
    assert compiling.over_after_s(day, cpu_s=1) == pytest.approx(7200 + 600, abs=70)
    assert loading.over_after_s(day, cpu_s=0.5) is None
    assert Looks(1, "compiling").over_after_s(day, cpu_s=1) is None
    assert Looks(1, "loading").over_after_s(day, cpu_s=0.004) == 605
    assert Looks(1, "saving").over_after_s(day, moved_bytes=100_000) is None
    assert Looks(1, "saving").over_after_s(day, moved_bytes=1_000) == 605
    assert Looks(1, "loading").over_after_s(day, log_bytes=1) is None


def test_busy_replicas_may_wait_in_vain():
    """NCCL keeps a CPU busy while it waits; one replica that computes is believed for longer."""
    assert Looks(4).beats(5, 5, 5).over_after_s(cpu_s=1) == 305
    assert Looks(1).beats(5, 5, 5).over_after_s(cpu_s=1) == pytest.approx(7500, abs=70)
    assert Looks(4).over_after_s(cpu_s=1) == pytest.approx(7800, abs=70)  # it compiles
    assert Looks(4).beats(5, 5).over_after_s(moved_bytes=100_000) == pytest.approx(7500, abs=70)


def test_saving_has_the_retrys_limit(monkeypatch):
    monkeypatch.setenv("HPCDL_SAVE_RETRY_S", "1000")

    assert Looks(phase="saving").over_after_s() == 2005


def test_time_asleep_does_not_count():
    times = iter([100.0, 105.0, 4000.0, 4005.0, 4003.0, 4004.0])
    clock = AwakeClock(lambda: next(times))

    assert [clock.tick(), clock.tick(), clock.tick(counts=False)] == [5.0, 15.0, 15.0]
    assert [clock.tick(), clock.tick()] == [15.0, 16.0]  # nor does a clock that goes back


def test_suspended_program_is_let_be(tmp_path):
    paths = RunPaths(tmp_path)
    paths.logs.mkdir()
    seconds = iter(range(0, 100_000, 6))
    with subprocess.Popen(["/bin/sh", "-c", "sleep 600; true"]) as program:
        try:
            program.send_signal(signal.SIGSTOP)
            until(lambda: is_suspended(program.pid))
            watchdog = Watchdog(paths, 1, Progress(0.0, 1), Alone(tmp_path), lambda: next(seconds))
            for _ in range(200):
                watchdog.look(0.0, program.pid)
            assert watchdog.message == ""
            program.send_signal(signal.SIGCONT)
            until(lambda: not is_suspended(program.pid))
            for _ in range(200):
                watchdog.look(0.0, program.pid)
            assert watchdog.message.startswith("no progress for 6")
            assert program.wait(60) == -signal.SIGKILL
        finally:
            kill_tree(program.pid)


def test_full_disk_is_no_stall(tmp_path):
    """The trainer goes on without heartbeats: none can be expected of it."""
    folder = tmp_path / "missing"
    looks = Looks()
    looks.over_after_s()
    assert Alone(folder).verdict(looks.progress) == ""
    folder.mkdir()
    assert Alone(folder).verdict(looks.progress) == ""
    looks.over_after_s()
    assert Alone(folder).verdict(looks.progress).startswith("no progress for 605 s (training")
    assert list(folder.iterdir()) == []


@pytest.mark.tensorflow
def test_hanging_function_is_ended_with_its_stack(tmp_path, monkeypatch):
    """It has a second attempt; then the run fails, and says where it hung."""
    machine = Machine(tmp_path)
    monkeypatch.setattr(Machine, "environment", {**machine.environment, "HPCDL_STALL_S": "1"})
    (tmp_path / "mine.py").write_text(HANGING_FUNCTION)
    (tmp_path / "models").mkdir()
    job = {
        "name": "hangs",
        "data": {"function": "mine:load"},
        "model": {"name": "mlp", "dense": [8]},
        "resources": {"gpus": 0},
    }
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    options = ("--backend", "local", "--runs-dir", "runs", "--no-check", "--wait")

    done = machine.hpcdl("submit", "job.yaml", *options, "--set", f"cluster.data_root={tmp_path}")

    assert done.returncode == 1, done.stderr
    run = machine.runs()[0]
    result = run.json("result.json")
    assert (result["state"], result["cause"]) == ("failed", "stall"), result
    assert [row["reason"] for row in result["attempts"]] == ["stalled", "stalled"]
    assert "two attempts in a row" in result["message"]
    assert "(loading; limit 2 s)" in result["message"]
    assert "HPCDL_STALL_S" in result["hint"]
    assert 'mine.py", line 5 in load' in run.log(2)


@pytest.fixture
def stand_ins(nodes_run: NodesRun) -> NodesRun:  # noqa: F811
    code = Path(nodes_run.json("manifest.json")["code"]["folder"])
    (code / "hpcdl/trainer/__main__.py").write_text(STAND_IN)
    nodes_run.set_variable("HPCDL_STALL_S", "1.5")
    return nodes_run


def test_stall_of_all_workers_is_ended(stand_ins):
    """And once more: then it is not tried again. SLURM does not answer here."""
    assert stand_ins.attempt() == 75

    log = stand_ins.paths.log(1).read_text()
    other = (stand_ins.paths.root / "workers/1/logs/1.log").read_text()
    assert "worker 1 on n2: no progress for " in log
    assert "stands_still" in log
    assert "stands_still" in other
    assert stand_ins.ends()[-1]["reason"] == "stalled"
    assert stand_ins.attempt() == 1
    result = stand_ins.json("result.json")
    assert (result["state"], result["cause"]) == ("failed", "stall")
    assert "worker 0 on n1: no progress for" in result["message"]


def test_waiting_worker_is_let_be(stand_ins):
    """Worker 1 is silent for six times its limit, while worker 0 works."""
    assert stand_ins.attempt(r0="work", r1="wait") == 0
    assert stand_ins.json("result.json")["state"] == "done"


def test_busy_worker_without_heartbeats_is_heard(tmp_path):
    """Worker 0 exports for an hour, which is one heartbeat; worker 1 waits for it."""
    paths, now_s = RunPaths(tmp_path), 0.0
    folder = meeting(paths, 1)
    folder.mkdir(parents=True)
    judges = [OneOfSeveral(folder, rank, NODES[rank], lambda: now_s) for rank in (0, 1)]
    watchdog = StepWatchdog(paths, 1, NODES, 300.0, lambda: now_s)
    busy, waiting = Progress(0.0, 2), Progress(0.0, 2)
    while now_s < 3600:
        now_s += 5
        busy.see(now_s, Signs("exporting", beat=1, cpu_s=now_s))
        waiting.see(now_s, Signs("saving", beat=1))
        assert judges[0].verdict(busy) == judges[1].verdict(waiting) == ""
        watchdog.look(now_s, NO_PID)
        assert watchdog.message == ""
    assert waiting.is_over


def test_retry_on_gpus_avoids_direct_access(nodes_run):  # noqa: F811
    paths = nodes_run.paths
    plan = read_plan(paths)
    of_gpus = replace(plan, size=replace(plan.size, gpus=2))
    talks = replace(plan.environment, env={"NCCL_DEBUG": "INFO"})
    own = replace(plan.environment, env={"NCCL_P2P_DISABLE": "0"})

    def after(reasons: str, decided: Plan) -> dict[str, str]:
        lines = []
        for number, reason in enumerate(reasons.split(), 1):
            lines.append(json.dumps({"event": "end", "attempt": number, "reason": reason}))
        paths.attempts.write_text("\n".join(lines))
        return variables_after_stall(paths, decided)

    assert after("stalled", of_gpus) == {"NCCL_P2P_DISABLE": "1", "NCCL_DEBUG": "WARN"}
    assert after("stalled preempted", of_gpus) == after("stalled", of_gpus)
    assert after("killed preempted", of_gpus) == {}
    assert after("stalled", plan) == {}
    assert after("stalled", replace(of_gpus, environment=talks)) == {"NCCL_P2P_DISABLE": "1"}
    assert after("stalled", replace(of_gpus, environment=own)) == {}


@pytest.mark.parametrize(
    ("text", "seconds"), [("7", 7.0), ("0", 0.0), ("", 300.0), ("soon", 300.0), ("nan", 0.0)]
)
def test_limit_of_the_job_counts(nodes_run, monkeypatch, text, seconds):  # noqa: F811
    monkeypatch.setenv("HPCDL_STALL_S", text)
    plan = read_plan(nodes_run.paths)
    assert stall_s(plan) == seconds
    of_job = replace(plan.environment, env={"HPCDL_STALL_S": "11"})
    assert stall_s(replace(plan, environment=of_job)) == 11
