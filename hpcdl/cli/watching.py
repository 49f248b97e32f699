"""Shows a run's progress until it has ended: plain lines, or a live bar on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli.run_lines import epoch_line, failure_lines, script_epoch_line, summary_line
from hpcdl.cli.talk import Talk

if TYPE_CHECKING:
    from hpcdl.run import Run
    from hpcdl.run.records import Heartbeat
    from hpcdl.run.state import Status


def follow(run: Run) -> int:
    """Follow a run to its end.

    Returns:
        0 where it is done, else 1.
    """
    show = _Bar() if sys.stderr.isatty() else _Lines()
    try:
        with show:
            for status in run.watch():
                show.update(run, status)
    except KeyboardInterrupt:
        click.echo(
            f"\nit goes on without you; look again with: hpcdl wait {run.paths.root}", err=True
        )
        return 130
    if status.state == "done":
        click.echo(
            f"{summary_line(run.result() or {}, status)}\nreport: hpcdl report {run.paths.root}",
            err=True,
        )
    else:
        for line in failure_lines(run, status):
            click.echo(line, err=True)
    return 0 if status.state == "done" else 1


class _Lines(Talk):
    """A line per change: state, note, epoch."""

    def __init__(self) -> None:
        self.last_state = ""
        self.epochs_shown = 0
        self.last_epoch = -1.0  # of a script, which numbers its epochs itself

    def update(self, run: Run, status: Status) -> None:
        """Say what is new since the last look."""
        from hpcdl.run.state import read_epochs

        state = state_line(status)
        if state != self.last_state and not status.final:
            self.last_state = state
            self.say(state)
        epochs = read_epochs(run.paths)
        if run.is_script():
            self._show_script(epochs)
            return
        for epoch in epochs[self.epochs_shown :]:
            self.say(epoch_line(epoch, status.epochs, status.folds))
        self.epochs_shown = len(epochs)

    def _show_script(self, epochs: list[dict[str, Any]]) -> None:
        """Say the epochs that a script wrote down since the last look."""
        for epoch in epochs:
            if epoch.get("epoch", -1.0) > self.last_epoch:
                self.last_epoch = epoch["epoch"]
                self.say(script_epoch_line(epoch))


class _Bar(_Lines):
    """The same lines above a bar of the current epoch."""

    def __init__(self) -> None:
        super().__init__()
        from rich.progress import BarColumn, TextColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(30),
            TextColumn("{task.fields[words]}"),
        )
        self.bars(*columns, transient=True)
        self.task = self.progress.add_task("", total=1, visible=False, words="")

    def update(self, run: Run, status: Status) -> None:
        """Say what is new, and redraw the bar."""
        super().update(run, status)
        beat = _heartbeat(run)
        steps, done = beat.steps_per_epoch, beat.step
        if steps and done is not None and status.state == "running" and beat.phase == "training":
            loss = f"loss {beat.loss:.4f}" if isinstance(beat.loss, float) else ""
            words = f"step {done % steps}/{steps}  {loss}"
            fold = f"fold {beat.fold}/{beat.folds}  " if beat.fold else ""
            self.progress.update(
                self.task, visible=True, description=f"{fold}epoch {beat.epoch}/{beat.epochs}", total=steps,
                completed=done % steps, words=words,
            )  # fmt: skip
        else:
            waiting = status.state if status.state != "running" else status.phase or "starting"
            self.progress.update(
                self.task, visible=not status.final, description=waiting, total=None, words=""
            )


def _heartbeat(run: Run) -> Heartbeat:
    from hpcdl.run.records import Heartbeat

    return Heartbeat.read(run.paths)


def state_line(status: Status) -> str:
    """One line for a state that is not final."""
    if status.state in ("queued", "requeued"):
        if not status.note:
            return status.state
        more = f"; more: scontrol show job {status.job_id}" if status.job_id else ""
        return f"{status.state} ({status.note}{more})"
    if status.state != "running":
        return status.state
    if status.attempt > 1:
        return f"started again on {status.node}, attempt {status.attempt}"
    return f"started on {status.node}"
