"""The runs that a new job comes after: from names to run folders, and refused if one has failed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hpcdl.errors import UserError
from hpcdl.planning import Plan
from hpcdl.run import find_run
from hpcdl.run.after import After, note_follower, split_any, write_after
from hpcdl.run.paths import RunPaths
from hpcdl.scheduler.clusters import cluster_of
from hpcdl.sweeps.followers import dependency, require_no_own_dependency


def find_after(texts: Sequence[str], roots: Sequence[Path]) -> list[After]:
    """The runs that texts name, each ``RUN`` or ``RUN:any``.

    Args:
        texts: from ``--after`` or from the job file's key ``after``.
        roots: the folders of runs to look in.

    Raises:
        UserError: there is no such run, or several fit.
    """
    listed: dict[Path, After] = {}
    for text in texts:
        name, any_end = split_any(text)
        try:
            run = find_run(name, roots)
        except UserError as error:
            raise UserError(f"after {text}: {error}") from error
        listed[run.paths.root] = After(run.paths.root, any_end)
    return list(listed.values())


def require_after(after: Sequence[After], plan: Plan, in_slurm: bool) -> None:
    """Make sure that all of these runs have ended well, or may still do so.

    Raises:
        UserError: one of them cannot; the job also has a dependency of its own.
        SchedulerError: SLURM was asked about one, and did not answer.
    """
    if not after:
        return
    require_no_own_dependency(plan.directives)
    dependency(after, cluster_of({"directives": plan.directives}), in_slurm)


def note_after(paths: RunPaths, after: Sequence[After]) -> None:
    """Note in a new run's folder which runs it comes after, and in theirs that it waits.

    Raises:
        OSError: the run's own folder cannot be written.
    """
    if not after:
        return
    write_after(paths, after)
    for before in after:
        with suppress(OSError):  # somebody else's: only SLURM knows who waits for that
            note_follower(before, paths)
