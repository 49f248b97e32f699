"""Shows a run's progress until it has ended: plain lines, or a live bar on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hpcdl.cli import options
from hpcdl.cli.run_lines import epoch_line, failure_lines, script_epoch_line, summary_line
from hpcdl.cli.talk import Talk
from hpcdl.run import states
from hpcdl.text import hpcdl_command

if TYPE_CHECKING:
    from hpcdl.run import Run
    from hpcdl.run.records import Heartbeat
    from hpcdl.run.state import Status


def follow(run: Run) -> int:
    """Follow a run to its end.

    Returns:
        the exit code: 0 if the run is done, 130 if the user left by Ctrl-C, else 1.
    """
    show = _Bar() if sys.stderr.isatty() else _Lines()
    try:
        with show:
            for status in run.watch():
                show.update(run, status)
    except KeyboardInterrupt:
        options.say(
            "\nthe run continues without you; look again with: "
            f"{hpcdl_command('wait', run.paths.root)}"
        )
        return 130
    if status.state != states.DONE:
        for line in failure_lines(run, status):
            options.say(line)
        return 1
    options.say(summary_line(run.result() or {}, status))
    options.say(f"report: {hpcdl_command('report', run.paths.root)}")
    return 0


class _Lines(Talk):
    """A line for each change: state, note, epoch."""

    def __init__(self) -> None:
        self.last_state = ""
        self.epochs_shown = 0
        self.last_epoch = -1.0  # of a script, which numbers its epochs itself

    def update(self, run: Run, status: Status) -> None:
        """Say what is new since the last update."""
        from hpcdl.run.epochs import read_epochs

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
        """Say the epochs that a script wrote down since the last update."""
        for epoch in epochs:
            if epoch.get("epoch", -1.0) > self.last_epoch:
                self.last_epoch = epoch["epoch"]
                self.say(script_epoch_line(epoch))


class _Bar(_Lines):
    """The same lines, above a bar of the current epoch."""

    def __init__(self) -> None:
        super().__init__()
        from rich.progress import BarColumn, TextColumn

        self.bars(
            TextColumn("{task.description}"),
            BarColumn(30),
            TextColumn("{task.fields[words]}"),
            transient=True,
        )
        self.task = self.progress.add_task("", total=1, visible=False, words="")

    def update(self, run: Run, status: Status) -> None:
        """Say what is new, and redraw the bar."""
        super().update(run, status)
        heartbeat = _heartbeat(run)
        trains = heartbeat.phase == "training" and heartbeat.step is not None
        if status.state == states.RUNNING and trains and heartbeat.steps_per_epoch:
            self._show_epoch(heartbeat, heartbeat.steps_per_epoch)
            return
        if status.state == states.RUNNING and heartbeat.phase == "predicting":
            self._show_files(heartbeat)
            return
        waiting_for = status.state
        if status.state == states.RUNNING:
            waiting_for = status.phase or "starting"
        visible = not status.final
        self._redraw(visible=visible, description=waiting_for, total=None, words="")

    def _show_epoch(self, heartbeat: Heartbeat, steps: int) -> None:
        """Show how far the epoch is."""
        step = (heartbeat.step or 0) % steps
        description = f"epoch {heartbeat.epoch}/{heartbeat.epochs}"
        if heartbeat.fold:
            description = f"fold {heartbeat.fold}/{heartbeat.folds}  {description}"
        words = f"step {step}/{steps}  "
        if isinstance(heartbeat.loss, float):
            words += f"loss {heartbeat.loss:.4f}"
        self._redraw(
            visible=True, description=description, total=steps, completed=step, words=words
        )

    def _show_files(self, heartbeat: Heartbeat) -> None:
        """Show how many files of a prediction are done."""
        done, total = heartbeat.step or 0, heartbeat.steps
        words = f"{done:,} files"
        if total:
            words = f"{done:,} of {total:,} files"
        self._redraw(
            visible=True, description="predicting", total=total, completed=done, words=words
        )

    def _redraw(self, **fields: Any) -> None:
        self.progress.update(self.task, **fields)


def _heartbeat(run: Run) -> Heartbeat:
    from hpcdl.run.records import Heartbeat

    return Heartbeat.read(run.paths)


def state_line(status: Status) -> str:
    """One line for a state that is not final."""
    if status.state in (states.QUEUED, states.REQUEUED):
        if not status.note:
            return status.state
        more = f"; more: scontrol show job {status.job_id}" if status.job_id else ""
        return f"{status.state} ({status.note}{more})"
    if status.state != states.RUNNING:
        return status.state
    if status.attempt > 1:
        return f"started again on {status.node}, attempt {status.attempt}"
    return f"started on {status.node}"
