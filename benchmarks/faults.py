"""The faults that happen to a victim: kinds of them, the moments at which they do, and what may follow."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from small_disk import SmallDisk
from victim import RETRY_S, LossError, Victim, in_session, until

MOMENTS = {
    "starting": 2,
    "training": 4,
    "saving": 3,
    "evaluating": 2,
}  # and how often each is chosen
BEFORE_TRAINING = ("starting", "loading", "compiling", "tracing")
AT_THE_END = (
    "evaluating",
    "saving",
    "done",
)  # phases of a trainer that has only its result left to write


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    Args:
        name: for the table.
        do: makes it happen; False where it came too late.
        reasons: how the attempt may end that it happens to, if it ends.
        by_hand: whether the launcher may end with it, so that a person has to resume the run.
        needs: what it takes: a "disk" or "quota" of the victim's own, a "container", a time "limit".
    """

    name: str
    do: Callable[[Victim, Random, SmallDisk | None], bool]
    reasons: frozenset[str]
    by_hand: bool = False
    needs: str = ""

    @property
    def on_disk(self) -> bool:
        return self.needs in ("disk", "quota")


@dataclass
class Fault:
    """One that happened: to which attempts, where they were, and the steps that had to be done again."""

    kind: Kind
    phase: str
    first: int
    last: int
    repeated: int = 0
    resumes: int = 0


def moment(victim: Victim, wanted: str, chance: Random, startup_s: float) -> bool:
    """Wait until a victim is about where it is wanted, and then a random while; False where it has ended."""
    if wanted == "starting":
        time.sleep(chance.uniform(0, startup_s))
    elif wanted == "evaluating":
        until(lambda: victim.phase() in AT_THE_END or victim.status().final, "its end", 0.003)
        time.sleep(chance.uniform(0, 0.1))
    else:
        until(lambda: victim.phase() not in BEFORE_TRAINING or victim.status().final, "training")
        time.sleep(chance.uniform(0, 1))
    return not victim.status().final


def begins_to_save(victim: Victim, chance: Random) -> bool:
    """Wait until a checkpoint is being written, and then a random while; False if that does not come about soon."""
    folder, deadline = victim.path / "checkpoints", time.monotonic() + 2
    while time.monotonic() < deadline:
        with suppress(OSError):
            if any(name.endswith(".tmp") for name in os.listdir(folder)):
                time.sleep(chance.uniform(0, 0.004))
                return True
        time.sleep(0.0002)
    return False


def kill_trainer(victim: Victim, chance: Random, disk: SmallDisk | None) -> bool:
    return _send(signal.SIGKILL, victim.trainer())


def terminate_trainer(victim: Victim, chance: Random, disk: SmallDisk | None) -> bool:
    return _send(signal.SIGTERM, victim.trainer())


def kill_launcher(victim: Victim, chance: Random, disk: SmallDisk | None) -> bool:
    return _send(signal.SIGKILL, victim.launcher()) and _is_lost(victim)


def kill_session(victim: Victim, chance: Random, disk: SmallDisk | None) -> bool:
    killed = [_send(signal.SIGKILL, pid) for pid in in_session(victim.sessions[-1])]
    return any(killed) and _is_lost(victim)


def ask_to_stop(victim: Victim, chance: Random, disk: SmallDisk | None) -> bool:
    (victim.path / "stop").touch()
    return True


def tear_checkpoint(victim: Victim, chance: Random, disk: SmallDisk | None) -> bool:
    """Kill everything, then damage the newest checkpoint: cut it short, or change a byte of it."""
    if (
        not victim.checkpoints()
        or victim.phase() in AT_THE_END
        or not kill_session(victim, chance, disk)
    ):
        return False
    newest = victim.checkpoints()[-1]
    content = bytearray(newest.read_bytes())
    if chance.random() < 0.5:
        del content[chance.randrange(len(content)) :]
    else:
        content[chance.randrange(len(content))] ^= 0xFF
    newest.write_bytes(content)
    victim.torn.add((newest.name, newest.stat().st_ino))
    return True


def terminate_session(victim: Victim, chance: Random, disk: SmallDisk | None) -> bool:
    """As a machine does that is shut down."""
    ended = [_send(signal.SIGTERM, pid) for pid in in_session(victim.sessions[-1])]
    return any(ended)


def reach_the_limit(victim: Victim, chance: Random, disk: SmallDisk | None) -> bool:
    """Nothing but to wait: launch stops the attempt when its time is nearly over."""
    attempt = victim.attempt
    until(lambda: victim.attempt > attempt or victim.status().final, "the time limit")
    return victim.status().state != "done"


def kill_image_server(victim: Victim, chance: Random, disk: SmallDisk | None) -> bool:
    """The process that serves the container's files."""
    for pid in in_session(victim.sessions[-1]):
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().startswith("squashfuse"):
                return _send(signal.SIGKILL, pid)
    return False


def fill_disk(victim: Victim, chance: Random, disk: SmallDisk | None) -> bool:
    assert disk is not None
    return _hold(disk, disk.fill, chance.uniform(0.5, 0.75 * RETRY_S))


def take_inodes(victim: Victim, chance: Random, disk: SmallDisk | None) -> bool:
    assert disk is not None
    return _hold(disk, disk.take_inodes, chance.uniform(0.5, 0.75 * RETRY_S))


def make_read_only(victim: Victim, chance: Random, disk: SmallDisk | None) -> bool:
    assert disk is not None
    return _hold(disk, disk.make_read_only, chance.uniform(0.5, 0.75 * RETRY_S))


def fill_disk_for_long(victim: Victim, chance: Random, disk: SmallDisk | None) -> bool:
    """For longer than it is tried to write again: the trainer gives up, then launch does."""
    assert disk is not None
    return _hold(disk, disk.fill, chance.uniform(1, 3) * RETRY_S)


def make_read_only_for_long(victim: Victim, chance: Random, disk: SmallDisk | None) -> bool:
    assert disk is not None
    return _hold(disk, disk.make_read_only, chance.uniform(1, 3) * RETRY_S)


def kill_on_full_disk(victim: Victim, chance: Random, disk: SmallDisk | None) -> bool:
    """Kill the trainer, or launch, while nothing can be written down of it."""
    assert disk is not None
    disk.fill()
    time.sleep(chance.uniform(0, 1))
    killed = _send(signal.SIGKILL, chance.choice((victim.trainer, victim.launcher))())
    return _hold(disk, disk.fill, chance.uniform(0.5, 0.75 * RETRY_S)) and killed


def _send(number: int, pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _is_lost(victim: Victim) -> bool:
    """Wait until a killed run is seen to have ended: True unless it had been done."""
    return bool(
        until(lambda: victim.status().final and victim.status().state, "the run to be lost")
        != "done"
    )


def _hold(disk: SmallDisk, harm: Callable[[], None], seconds: float) -> bool:
    """Keep a disk as ill as it is made, whatever is removed from it meanwhile."""
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            harm()
            time.sleep(0.02)
    finally:
        disk.recover()
    return True


def happen(
    victim: Victim,
    kind: Kind,
    wanted: str,
    startup_s: float,
    disk: SmallDisk | None,
    chance: Random,
    faults: list[Fault],
) -> bool:
    """Make a fault happen at a wanted moment, and resume the run where that is needed; False where it is done."""
    while not moment(victim, wanted, chance, startup_s):
        if is_done(victim, faults):
            return False
    victim.check_checkpoints()
    rows, phase = victim.lines("attempts.jsonl"), victim.phase()
    first = victim.attempt + (
        not rows or rows[-1]["event"] != "start"
    )  # between two attempts: the next one
    if wanted == "saving" and phase == "training" and begins_to_save(victim, chance):
        phase = "saving"
    if kind.do(victim, chance, disk):
        faults.append(Fault(kind, phase, first, max(first, victim.attempt)))
    victim.check_checkpoints()
    return not is_done(victim, faults)


def is_done(victim: Victim, faults: list[Fault]) -> bool:
    """Whether a run is done; one that ended otherwise is resumed by hand, but only where a user would have to.

    Raises:
        LossError: it ended though nothing had happened to it that a person has to see to.
    """
    status = victim.status()
    if not status.final or status.state == "done":
        return status.final
    message = str(victim.json("result.json").get("message") or status.note)
    last = faults[-1] if faults and not faults[-1].resumes else None
    stuck = status.state == "failed" and "made no new step" in message
    if (
        victim.limited and status.cause == "time_limit"
    ):  # the machine was so busy that it was too short
        victim.resume()
        return False
    # submitit cannot start launch on a disk that is full at that moment
    by_hand = last is not None and (
        last.kind.by_hand or (last.kind.on_disk and last.phase == "starting")
    )
    if last is None or not (stuck or (status.state == "lost" and by_hand)):
        raise LossError(f"it is {status.state} ({message}), for no reason that a person could see")
    victim.resume()
    last.resumes += 1
    return False


_KILLED, _ANY = frozenset({"killed"}), frozenset({"killed", "stopped"})
KINDS = {
    kind.name: kind
    for kind in (
        Kind("trainer killed", kill_trainer, _KILLED),
        Kind("trainer terminated", terminate_trainer, _KILLED),
        Kind("launcher killed", kill_launcher, _KILLED, by_hand=True),
        Kind("all killed", kill_session, _KILLED, by_hand=True),
        Kind("all terminated", terminate_session, _KILLED, by_hand=True),
        Kind("stop file", ask_to_stop, frozenset({"stopped"})),
        Kind("time limit", reach_the_limit, frozenset({"time_limit"}), needs="limit"),
        Kind("checkpoint torn", tear_checkpoint, _KILLED, by_hand=True),
        Kind("disk full", fill_disk, _ANY, needs="disk"),
        Kind("no inodes", take_inodes, _ANY, needs="disk"),
        Kind("read-only", make_read_only, _ANY, needs="disk"),
        Kind("full for long", fill_disk_for_long, _ANY, by_hand=True, needs="disk"),
        Kind("read-only for long", make_read_only_for_long, _ANY, by_hand=True, needs="disk"),
        Kind("killed on full disk", kill_on_full_disk, _ANY, by_hand=True, needs="disk"),
        Kind("over quota", fill_disk, _ANY, needs="quota"),
        Kind("image server killed", kill_image_server, _KILLED, needs="container"),
    )
}
