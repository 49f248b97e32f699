"""How the program of an attempt ended, or why it was not started: its node is not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hpcdl.files import write_json
from hpcdl.launch import node_checks
from hpcdl.launch.members import run_members
from hpcdl.launch.program_run import ProgramRun
from hpcdl.launch.retry import keep_trying, say
from hpcdl.run import causes, states
from hpcdl.run.causes import Outcome
from hpcdl.run.hints import HINTS
from hpcdl.run.paths import RunPaths


@dataclass(frozen=True)
class Ended:
    """How the program of an attempt ended.

    Args:
        status: its exit status, or the one that stands for what kept it from starting.
        outcome: what that means.
        peak_memory_gb: the most memory that one process used; None if nothing was started.
        node: the node at fault, of several.
    """

    status: int
    outcome: Outcome
    peak_memory_gb: float | None = None
    node: str | None = None


def run_on_nodes(program: ProgramRun, nodes: Sequence[str]) -> Ended:
    """Run a program on several nodes.

    Args:
        program: its run.
        nodes: the nodes, by rank.
    """
    end = run_members(program, nodes)
    decisive, ending = end.decisive, end.ending
    if ending is not None:
        outcome = causes.of_ending(ending)
        if end.problem and outcome.message:  # of a worker that was killed, as none has an end
            outcome = replace(outcome, message=end.problem)
        return Ended(ending.status, outcome, ending.peak_memory_gb, decisive.node)
    kind = "device" if decisive.is_of_another else decisive.kind or "device"
    _write_unfit(program.paths, program.attempt, f"error: {decisive.unmet}\n", kind)
    state = states.UNFIT if decisive.elsewhere else states.FAILED
    node = decisive.blamed[0] if decisive.blamed else decisive.node
    status = node_checks.STATUS.get(kind, decisive.status)
    return Ended(status, Outcome(state, kind, decisive.unmet), node=node)


def _write_unfit(paths: RunPaths, attempt: int, lines: str, cause: str) -> None:
    """Write what a node lacks into the log and into failure.json."""
    say(lines.rstrip())
    keep_trying("the log", lambda: _write_log(paths, attempt, lines), paths)
    failure = {"kind": cause, "hint": HINTS[states.UNFIT]}
    keep_trying("failure.json", lambda: write_json(paths.failure, failure), paths)


def unfit(program: ProgramRun, node: str, faults: list[node_checks.Fault]) -> Ended:
    """Write down what this node lacks. In SLURM another one may do, if the node is to blame.

    Args:
        program: the run of the program, which is not started.
        node: this node's name.
        faults: what it lacks.
    """
    cause = faults[0].cause
    lines = "".join(f"error: {node}: {fault.text}\n" for fault in faults)
    _write_unfit(program.paths, program.attempt, lines, cause)
    texts = "; ".join(fault.text for fault in faults)
    message = f"{node} is not fit for this job: {texts}"
    state = states.FAILED
    if program.in_slurm and all(fault.elsewhere for fault in faults):
        state = states.UNFIT
    return Ended(node_checks.STATUS[cause], Outcome(state, cause, message))


def _write_log(paths: RunPaths, attempt: int, lines: str) -> None:
    paths.logs.mkdir(exist_ok=True)  # somebody may have tidied up
    paths.log(attempt).write_text(lines, encoding="utf-8")
