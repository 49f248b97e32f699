"""Starts a task's trials through one fork server, or says that a trial needs a fresh process."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from hpcdl.container import Places, environment, plain
from hpcdl.launch.command import argv_of, program_of, with_modules
from hpcdl.launch.fork_server import ForkServer
from hpcdl.launch.retry import say
from hpcdl.launch.served_trainer import NotServedError, ServedTrainer
from hpcdl.mounts.binds import parse
from hpcdl.planning import Plan, Training
from hpcdl.run.paths import RunPaths

# Variables that a trial may have of its own. TensorFlow reads none of them, nor do its libraries.
_OWN = frozenset(("HPCDL_ATTEMPT", "HPCDL_LIFELINE", "HPCDL_STOP_FILE", "TMPDIR"))


def served_trials(
    plan: Plan, folder: Path, in_slurm: bool, setting: bool | None = None
) -> ServedTrials | None:
    """The fork server of a task, or None if each trial gets a fresh process.

    Args:
        plan: the trials' common plan.
        folder: the folder below which all their run folders lie, and their home.
        in_slurm: whether a batch script has started this.
        setting: what the user says about it. None: only without GPUs, where it was tried.
    """
    if setting is None:
        setting = plan.size.gpus == 0 or plan.size.emulate_gpus
    if not setting or not isinstance(plan.program, Training) or sys.platform != "linux":
        return None
    return ServedTrials(plan, folder, in_slurm)


class ServedTrials:
    """The trials of one task, in one process after the other or several at once.

    The server starts with the first trial. Trials are started from the main thread: the server ends
    with the thread that has started it.

    Args:
        plan: the trials' common plan.
        folder: the folder below which all their run folders lie.
        in_slurm: whether a batch script has started this.

    ``tmp`` is the folder for the trials' temporary folders: the server sees no other one. `close`
    removes it.
    """

    def __init__(self, plan: Plan, folder: Path, in_slurm: bool) -> None:
        scratch = plan.scratch and os.path.expandvars(plan.scratch)
        self.tmp = Path(tempfile.mkdtemp(prefix="hpcdl-", dir=scratch))
        self._plan = plan
        self._folder = folder
        self._in_slurm = in_slurm
        self._server: ForkServer | None = None
        self._variables: dict[str, str] = {}
        self._binds: set[str] = set()
        self._reasons: set[str] = set()

    def start(self, paths: RunPaths, attempt: int, places: Places) -> ServedTrainer | None:
        """Start an attempt of a trial; None if it needs a fresh process, which the log says once.

        Args:
            paths: the trial.
            attempt: the number of the attempt, whose log exists.
            places: where the trial's things lie.
        """
        try:
            places = replace(places, lifeline=False)  # the server ends its trials
            server = self._server_for(paths, places)
            environment = self._environment(places)
            return server.start(
                str(paths.spec), paths.log(attempt), environment, plain(places.workdir)
            )
        except NotServedError as error:
            reason = str(error)
        if reason not in self._reasons:
            self._reasons.add(reason)
            say(f"fork server: not for this trial, which gets a fresh process: {reason}")
        return None

    def close(self) -> None:
        """End the server and its trials."""
        if self._server is not None:
            self._server.close()
        shutil.rmtree(self.tmp, ignore_errors=True)

    def _server_for(self, paths: RunPaths, places: Places) -> ForkServer:
        """The server, which must see all that a trial needs."""
        binds = {plain(bind) for bind in places.binds}
        outside = {bind for bind in binds if not self._is_inside(bind)}
        if self._server is None:
            self._binds = outside
            self._server = self._make_server(paths, places)
        missing = sorted(outside - self._binds)
        if missing:
            raise NotServedError(f"the server's container has no bind {missing[0]}")
        return self._server

    def _is_inside(self, bind: str) -> bool:
        return Path(parse(bind).source).is_relative_to(self._folder)

    def _make_server(self, paths: RunPaths, places: Places) -> ForkServer:
        """A server whose container shows the folder of all trials."""
        binds = []
        if self._plan.container is not None:
            binds = [str(self._folder), *sorted(self._binds)]
        own = replace(
            places,
            workdir=str(self._folder),
            tmp=str(self.tmp),
            binds=binds,
            attempt=None,
            lifeline=False,
        )
        program = [*program_of(paths, self._plan)[:-1], "--serve"]
        argv, env = argv_of(self._plan, own, program, self._in_slurm)
        if not self._in_slurm:
            argv, env = with_modules(self._plan, argv, env)
        self._variables = self._all_variables(own)
        return ForkServer(argv, env, str(self._folder), self.tmp / "server.log")

    def _all_variables(self, places: Places) -> dict[str, str]:
        """The variables that hpcdl sets for the program."""
        variables = {}
        for name, value in environment(self._plan, places).items():
            variables[name] = plain(value)
        return variables

    def _environment(self, places: Places) -> dict[str, str | None]:
        """The variables that a trial does not share with the server."""
        variables = self._all_variables(places)
        variables["TMPDIR"] = self._tmp_of(places)
        changes: dict[str, str | None] = dict.fromkeys(self._variables.keys() - variables.keys())
        for name, value in variables.items():
            if self._variables.get(name) != value:
                changes[name] = value
        for name in sorted(changes.keys() - _OWN):
            raise NotServedError(f"the variable {name} is not the server's")
        return changes

    def _tmp_of(self, places: Places) -> str:
        """The trial's temporary folder, as the server sees it."""
        tmp = Path(places.tmp or self.tmp)
        if tmp.parent != self.tmp:
            raise NotServedError(f"the server does not see {tmp}")
        return f"/tmp/{tmp.name}" if self._plan.container else str(tmp)  # noqa: S108 - bound there
