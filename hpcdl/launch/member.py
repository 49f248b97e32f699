"""On each node of a run on several: ``python -m hpcdl.launch.member RUN ATTEMPT``, by srun.

It checks the node, meets the other members, runs the program with TF_CONFIG, and writes down how
that ended. srun's exit status would tell the highest one of all, whatever the cause.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from hpcdl.contract.errors import PeerLost
from hpcdl.contract.exit_status import EXIT_DEVICES, EXIT_INTERNAL, EXIT_SPEC
from hpcdl.contract.version import __version__
from hpcdl.contract.workers import VARIABLE, to_tf_config
from hpcdl.errors import HpcdlError, UserError
from hpcdl.launch import node_checks
from hpcdl.launch.command import data_path, read_plan
from hpcdl.launch.deadline import Deadline
from hpcdl.launch.meeting import WAIT_S, Card, NotMetError, meet, publish
from hpcdl.launch.member_end import MemberEnd, write_end
from hpcdl.launch.ports import address_towards, hold_port
from hpcdl.launch.process import run_program
from hpcdl.launch.program_run import ProgramRun
from hpcdl.launch.reach import open_to_all, try_all
from hpcdl.launch.retry import OutOfPatienceError, RunRemovedError, keep_trying, say
from hpcdl.launch.stall_of_step import OneOfSeveral
from hpcdl.local_machine import visible_gpus
from hpcdl.planning import Plan
from hpcdl.run import states
from hpcdl.run.records import Manifest
from hpcdl.run.worker_paths import WorkerPaths, meeting
from hpcdl.scheduler.host_list import expand


@dataclass(frozen=True)
class _Member:
    """One member, as SLURM started it.

    Args:
        paths: the run, as its worker writes it.
        attempt: the attempt's number, from 1.
        node: this node's name.
        nodes: the names of all nodes, by rank.
        plan: the run's plan.
    """

    paths: WorkerPaths
    attempt: int
    node: str
    nodes: Sequence[str]
    plan: Plan

    @property
    def folder(self) -> Path:
        """Where the members of the attempt meet."""
        return meeting(self.paths, self.attempt)

    def unmet(self, status: int, kind: str, why: str, blamed: Sequence[str]) -> MemberEnd:
        """The end of a member that starts nothing."""
        return MemberEnd(
            self.paths.rank, self.node, status, time.time(), kind, 0, unmet=why, blamed=blamed
        )


def main(words: Sequence[str]) -> int:
    """Be a member of an attempt until its program ends.

    Args:
        words: the run folder, and the attempt's number.

    Returns:
        the exit status: the program's.
    """
    threading.Thread(target=_end_with_launch, name="lifeline", daemon=True).start()
    rank = int(os.environ["SLURM_PROCID"])
    node = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    paths, attempt = WorkerPaths(Path(words[0]), rank), int(words[1])
    try:
        end = _end_of(paths, attempt, node)
        keep_trying("this worker's end", lambda: write_end(meeting(paths, attempt), end), paths)
    except (OutOfPatienceError, RunRemovedError) as error:
        say(f"worker {rank} on {node}: {error}")
        return EXIT_INTERNAL
    return end.status if end.status >= 0 else 128 - end.status


def _end_of(paths: WorkerPaths, attempt: int, node: str) -> MemberEnd:
    """Run the worker's program; how it ended, or why it was not started."""
    try:
        nodes = expand(os.environ["SLURM_STEP_NODELIST"])
        plan = keep_trying("plan.json", lambda: read_plan(paths), paths)
    except HpcdlError as error:
        status = EXIT_SPEC if isinstance(error, UserError) else EXIT_INTERNAL
        kind = "spec" if status == EXIT_SPEC else "internal"
        now = time.time()
        return MemberEnd(
            paths.rank, node, status, now, kind, 0, unmet=str(error), blamed=[node], elsewhere=False
        )
    this = _Member(paths, attempt, node, nodes, plan)
    try:
        with closing(hold_port(plan.environment.ports)) as held:
            return _run(this, held.getsockname()[1])
    except (NotMetError, HpcdlError) as error:
        if isinstance(error, NotMetError):
            return this.unmet(EXIT_INTERNAL, PeerLost.kind, str(error), error.nodes)
        own = Card(paths.rank, node, "", 0, {}, [str(error)])
        _publish(this, own)  # the others need not wait
        return this.unmet(EXIT_DEVICES, "device", f"{node}: {error}", [node])


def _run(this: _Member, port: int) -> MemberEnd:
    """Check the node, meet the others, and run the program.

    Args:
        this: the member.
        port: of its worker.

    Raises:
        NotMetError: the members cannot begin, and this node is not the reason.
        HpcdlError: this node is.
    """
    paths, plan = this.paths, this.plan
    keep_trying("the worker's folder", lambda: _prepare(paths), paths)
    faults = node_checks.faults(paths, plan, in_slurm=True)
    address = address_towards(os.environ.get("SLURM_LAUNCH_NODE_IPADDR") or "127.0.0.1")
    texts = [fault.text for fault in faults]
    with closing(open_to_all(address, port, len(this.nodes))):
        _publish(this, Card(paths.rank, this.node, address, port, _same(this), texts))
        if faults:
            return _unfit(this, faults)
        wait_s = float(os.environ.get("HPCDL_MEETING_S", WAIT_S))
        cards = meet(this.folder, this.nodes, wait_s)
        keep_trying("the meeting", lambda: try_all(this.folder, cards, paths.rank), paths)
    never = Deadline(paths, None, 0.0)  # the batch host looks at the clock for all
    job_id = os.environ.get("SLURM_JOB_ID")
    variables = worker_variables(cards, paths.rank)
    judge = OneOfSeveral(this.folder, paths.rank, this.node)
    program = ProgramRun(paths, plan, this.attempt, job_id, never, workers=variables, judge=judge)
    ending = run_program(program)
    return MemberEnd(
        rank=paths.rank,
        node=this.node,
        status=ending.status,
        time=time.time(),
        kind=states.STALL if ending.stalled else ending.failure_kind,
        oom_kills=ending.oom_kills,
        peak_memory_gb=ending.peak_memory_gb,
    )


def _unfit(this: _Member, faults: Sequence[node_checks.Fault]) -> MemberEnd:
    """The end of a member whose node lacks something."""
    cause = faults[0].cause
    why = "; ".join(fault.text for fault in faults)
    elsewhere = all(fault.elsewhere for fault in faults)
    end = this.unmet(node_checks.STATUS[cause], cause, f"{this.node}: {why}", [this.node])
    return replace(end, elsewhere=elsewhere)


def _prepare(paths: WorkerPaths) -> None:
    """Make the worker's folder, and remove what an earlier attempt wrote about its end."""
    paths.logs.mkdir(parents=True, exist_ok=True)
    paths.failure.unlink(missing_ok=True)


def _publish(this: _Member, card: Card) -> None:
    """Write this member's card.

    Raises:
        OutOfPatienceError: it cannot be written.
        RunRemovedError: the run was removed.
    """
    keep_trying("this worker's card", lambda: publish(this.folder, card), this.paths)


def _same(this: _Member) -> dict[str, str]:
    """What must be the same on all nodes, as this one sees it."""
    plan = this.plan
    same = {"hpcdl": f"{__version__} in {Manifest.read(this.paths).code_folder or 'its Python'}"}
    if plan.container is not None:
        same["the image"] = _with_size(plan.container.image)
    data = data_path(this.paths)
    if data is not None and os.path.isfile(data):
        same["the data set"] = _with_size(data)
    if plan.size.gpus and not plan.size.emulate_gpus:
        visible = visible_gpus(plan.gpu_vendor)
        same["GPUs"] = str(min(visible, plan.size.gpus) if plan.uses_first_gpus else visible)
    return same


def _with_size(path: str) -> str:
    try:
        return f"{path} of {os.path.getsize(path):,} bytes"
    except OSError as error:
        return f"{path} ({error.strerror})"


def worker_variables(cards: Sequence[Card], rank: int) -> dict[str, str]:
    """The variables that tell a worker of the others.

    A proxy of the site is not for them: gRPC would ask it for the way to the next node. Source:
    https://github.com/grpc/grpc/blob/master/doc/environment_variables.md (no_grpc_proxy).

    Args:
        cards: of all members, by rank.
        rank: the worker's number, from 0.
    """
    addresses = dict.fromkeys([*(card.address for card in cards), "localhost"])
    return {
        VARIABLE: to_tf_config([card.host_and_port for card in cards], rank),
        "TF_GRPC_REUSE_PORT": "1",  # the port is held: see `hpcdl.launch.ports`
        "no_grpc_proxy": ",".join(addresses),
    }


def _end_with_launch() -> None:
    """End when launch does: srun hands on its stdin, which is a pipe that launch holds."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
