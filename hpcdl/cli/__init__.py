"""The command line: one file per command, loaded when it is called.

The program starts in this module. It imports nothing slow, so that it can first prepare for
Ctrl-C, for the locale's encoding, and for a closed stdout.
"""

from __future__ import annotations

import gc
import sys

# The commands in the order a user meets them, with their one-line help: --help loads none of them.
COMMANDS = {
    "init": "Keep your cluster, account and image in a file of yours.",
    "jobs": "List and copy the jobs that ship with hpcdl.",
    "data": "Stage data sets and weights, list and verify them.",
    "adopt": "Make a job file of a batch script of yours.",
    "render": "Print the batch script of a job.",
    "check": "Find out whether a job could run, and send nothing.",
    "submit": "Submit a job to SLURM, or run it on this machine.",
    "sweep": "Train many trials of one job, and find the best.",
    "scale": "Measure how many GPUs a training is worth.",
    "predict": "Predict a folder of images with the models of runs.",
    "status": "Show runs and sweeps, and their states.",
    "wait": "Wait until runs have ended, showing their progress.",
    "logs": "Print a run's log.",
    "result": "Show the result of a run.",
    "report": "Write the report of a run or a sweep, one HTML page.",
    "export": "Show or make what a run's model is exported as.",
    "compare": "Show runs side by side.",
    "cost": "Show what runs cost, and what to ask for next time.",
    "tensorboard": "Show runs' curves in TensorBoard.",
    "cancel": "Cancel a run for good.",
    "resume": "Continue a run that ended too early.",
    "retry": "Send what failed again, as its cause asks for.",
    "notebook": "Open JupyterLab on a compute node.",
    "clean": "Show the disk space of runs, and remove what is not needed.",
    "shell": "Open a job's or run's container by hand.",
    "image": "Look into a container image.",
    "env": "Install what the image lacks.",
    "cluster": "List, show, discover and test cluster profiles.",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command line and give its exit code.

    Args:
        argv: the arguments after ``hpcdl``; None for this process's own.
    """
    from hpcdl.cli.program import run

    return run(sys.argv[1:] if argv is None else argv)


def entrypoint() -> None:
    """The ``hpcdl`` command."""
    # Nearly all objects that a command makes, its modules above all, are in use until it ends.
    gc.set_threshold(50_000)
    try:
        code = _run()
    except KeyboardInterrupt:
        code = 130
    # Else Python looks through every module for garbage at its end: a sixth of most commands' time.
    gc.freeze()
    sys.exit(code)


def _run() -> int:
    from hpcdl.cli import signals, streams

    signals.leave_at_once()
    streams.use_utf8()
    streams.make_safe()
    from hpcdl.cli.program import run

    signals.let_it_clean_up()
    try:
        return run(sys.argv[1:])
    except Exception:
        return _fault()
    finally:
        signals.leave_at_once()


def _fault() -> int:
    """Show a fault of hpcdl's own."""
    import traceback

    from hpcdl.contract.version import __version__

    traceback.print_exc()
    lines = [
        f"hpcdl {__version__}: this is a fault of hpcdl's own, not of yours.",
        "Please report it with the command line and the lines above.",
    ]
    sys.stderr.write("\n".join(lines) + "\n")
    return 1
