"""Which runs a run comes after (after.json), and whether these have ended as it needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcdl.files import append_json_line, read_json, read_json_lines, write_json
from hpcdl.run import states
from hpcdl.run.paths import RunPaths, sweep_of
from hpcdl.run.result import Result

_ANY = ":any"


@dataclass(frozen=True)
class After:
    """A run that must have ended before.

    Args:
        run: its folder.
        any_end: whether it may have ended in any way; else it must be done.
    """

    run: Path
    any_end: bool = False

    @property
    def name(self) -> str:
        """``<name>/<run_id>``."""
        return "/".join(self.run.parts[-2:])


def split_any(text: str) -> tuple[str, bool]:
    """``RUN`` or ``RUN:any``: the run, and whether it may end in any way."""
    return text.removesuffix(_ANY), text.endswith(_ANY)


def read_after(paths: RunPaths) -> list[After]:
    """The runs that a run comes after; none for most runs."""
    listed = []
    for entry in (read_json(paths.after) or {}).get("after", []):
        if isinstance(entry, dict) and isinstance(entry.get("run"), str):
            listed.append(After(Path(entry["run"]), entry.get("any") is True))
    return listed


def write_after(paths: RunPaths, after: Sequence[After]) -> None:
    """Note which runs a run comes after.

    Raises:
        OSError: it cannot be written.
    """
    entries = [{"run": str(before.run), "any": before.any_end} for before in after]
    write_json(paths.after, {"after": entries})


def note_follower(before: After, follower: RunPaths) -> None:
    """Note in a run's folder who waits for it, for when it gets another job.

    Raises:
        OSError: it cannot be written, as in somebody else's folder.
    """
    paths = RunPaths(before.run)
    if follower.root not in followers(paths):
        append_json_line(paths.followers, {"run": str(follower.root)})


def followers(paths: RunPaths) -> list[Path]:
    """The folders of the runs that were sent to come after this one."""
    folders: list[Path] = []
    for line in read_json_lines(paths.followers):
        if isinstance(line.get("run"), str) and Path(line["run"]) not in folders:
            folders.append(Path(line["run"]))
    return folders


def end_of(paths: RunPaths) -> str | None:
    """The state in which a run has ended, by its files; None if these show no end."""
    if paths.cancelled.exists():
        return states.CANCELLED
    result = Result.read(paths)
    if result is None or not (result.is_complete or result.state == states.DONE):
        return None
    return result.state


@dataclass(frozen=True)
class Missed:
    """A run that should be done, and is not.

    Args:
        name: the run's.
        state: in which it has ended; None if its files show no end.
    """

    name: str
    state: str | None

    def __str__(self) -> str:
        return f"{self.name}, after which it was to run, is {self.state or 'not done'}"


def missed(paths: RunPaths) -> list[Missed]:
    """The runs that should be done before this one, and are not, by their files; sweeps are not
    among them (see `hpcdl.sweeps.before`).

    A run whose folder was removed is not among them: nothing is known of it.
    """
    runs = []
    for before in read_after(paths):
        before_paths = RunPaths(before.run)
        if before.any_end or not before_paths.manifest.exists():
            continue
        if sweep_of(before_paths) is not None:
            continue
        state = end_of(before_paths)
        if state != states.DONE:
            runs.append(Missed(before.name, state))
    return runs
