"""How the members of a run on several nodes ended, and which of these ends is the run's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from signal import SIGKILL, SIGTERM

from hpcdl.contract.errors import PeerLost
from hpcdl.contract.exit_status import EXIT_DONE, EXIT_STOPPED, EXIT_USER_CODE
from hpcdl.files import read_json, write_json
from hpcdl.run.causes import Ending

# By these, the trainer says what is wrong with the run itself
_OWN_FAULTS = range(EXIT_USER_CODE, 70)


@dataclass(frozen=True)
class MemberEnd:
    """The end of the program on one node, as its member wrote it.

    Args:
        rank: the worker's number, from 0.
        node: its node's name.
        status: the exit status; -N or 128 + N if signal N ended it.
        time: when it ended (unix time).
        kind: the cause that the trainer gave in the worker's failure.json.
        oom_kills: how many processes the kernel killed for memory meanwhile; None if unknown.
        peak_memory_gb: the most memory that one process had.
        unmet: why the program was not started; empty if it was.
        blamed: the nodes at fault for that.
        elsewhere: whether another node may be better.
    """

    rank: int
    node: str
    status: int
    time: float = 0.0
    kind: str | None = None
    oom_kills: int | None = None
    peak_memory_gb: float = 0.0
    unmet: str = ""
    blamed: Sequence[str] = ()
    elsewhere: bool = True

    @property
    def is_good(self) -> bool:
        """Whether the program is done, or saved its state and stopped."""
        return self.status in (EXIT_DONE, EXIT_STOPPED)

    @property
    def is_of_another(self) -> bool:
        """Whether it ended because another worker had."""
        return self.kind == PeerLost.kind


def write_end(folder: Path, end: MemberEnd) -> None:
    """Write a member's end into the folder of the attempt.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(_path(folder, end.rank), asdict(end))


def read_ends(folder: Path, count: int) -> list[MemberEnd]:
    """The ends that were written, by rank; what is damaged is left out.

    Args:
        folder: of the attempt.
        count: how many members there are.
    """
    ends = []
    for rank in range(count):
        try:
            end = MemberEnd(**(read_json(_path(folder, rank)) or {}))
        except TypeError:
            continue
        if end.rank == rank and isinstance(end.status, int):
            ends.append(end)
    return ends


def _path(folder: Path, rank: int) -> Path:
    return folder / f"{rank}.end.json"


def unmet_end(ends: Sequence[MemberEnd]) -> MemberEnd | None:
    """The end that says why the members did not begin; None if they did.

    What a member says of its own node comes first: the others may only know that it is missing.
    """
    unmet = [end for end in ends if end.unmet]
    unmet.sort(key=lambda end: (end.is_of_another, end.rank))
    return unmet[0] if unmet else None


def decisive_end(
    ends: Sequence[MemberEnd], nodes: Sequence[str], is_script: bool = False
) -> MemberEnd:
    """The end that is the run's. The exit status of srun says nothing: the highest one wins there.

    Worker 0's is, if it is good: it has written the result, or the state. Otherwise it is the
    first end that no other worker was the cause of. A member that wrote no end was killed with
    its program; only an end that says what is wrong with the run counts more.

    Of a script nobody knows whether worker 0 needs the others. It is done only if none of them had
    failed before worker 0 was.

    Args:
        ends: those that were written, in any order.
        nodes: the nodes of all workers, by rank.
        is_script: whether the program is the user's own.
    """
    by_rank = {end.rank: end for end in ends}
    first = by_rank.get(0)
    causes = [end for end in ends if not end.is_good and not end.is_of_another]
    causes.sort(key=lambda end: (end.time, end.rank))
    own_faults = [end for end in causes if _is_own_fault(end, is_script)]
    lost = [rank for rank in range(len(nodes)) if rank not in by_rank]
    if first is not None and first.is_good:
        failed_before = bool(lost) or any(end.time < first.time for end in causes)
        if not (is_script and first.status == EXIT_DONE and failed_before):
            return first
    if lost and not own_faults:
        return MemberEnd(lost[0], nodes[lost[0]], -SIGKILL, oom_kills=0)
    if causes:
        return own_faults[0] if lost else causes[0]
    # They have lost each other, as when a network is cut; or worker 0 alone has lost the others
    others = sorted(ends, key=lambda end: (end.is_good, end.time, end.rank))
    return others[0]


def _is_own_fault(end: MemberEnd, is_script: bool) -> bool:
    """Whether an end says what is wrong with the run.

    A script's statuses mean what it likes. After a fault, launch and SLURM end the others, by
    SIGTERM if these can still write their ends.
    """
    if is_script:
        return end.status not in (-SIGTERM, 128 + SIGTERM)
    return end.status in _OWN_FAULTS


def fold(of_batch_host: Ending, ends: Sequence[MemberEnd], nodes: Sequence[str]) -> Ending:
    """The end of the run.

    Args:
        of_batch_host: what this node saw; its log is that of the worker whose end is decisive.
        ends: those that the members wrote.
        nodes: the nodes of all workers, by rank.
    """
    decisive = decisive_end(ends, nodes, of_batch_host.script)
    return replace(
        of_batch_host,
        status=decisive.status,
        failure_kind=decisive.kind,
        oom_kills=decisive.oom_kills,
        peak_memory_gb=max((end.peak_memory_gb for end in ends), default=0.0),
    )
