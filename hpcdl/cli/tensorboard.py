"""``hpcdl tensorboard``: the curves of runs in TensorBoard."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options

if TYPE_CHECKING:
    from hpcdl.run import Run

_PORT = 6006  # TensorBoard's own
_POLL_S = 0.2  # between two attempts to connect to it
_PORT_HELP = f"Where it listens. Default: {_PORT}, or one that is free."
_HOST_HELP = "Address to listen at. Another one lets others in."


@click.command(short_help="Show runs' curves in TensorBoard.")
@options.runs
@options.places
@click.option("--port", type=click.IntRange(1, 65535), help=_PORT_HELP)
@click.option("--host", default="localhost", show_default=True, help=_HOST_HELP)
def command(runs: tuple[str, ...], places: options.Places, port: int | None, host: str) -> int:
    """Show runs' curves in TensorBoard.

    The runs need train.tensorboard: true. The curves of a run that still runs
    grow. TensorBoard runs here until Ctrl-C. Run the ssh line that it prints on
    your own machine: then the address opens in your own browser.

    \b
    hpcdl tensorboard k3f9 p0aa
    hpcdl tensorboard k3f9 --port 6010
    """
    from hpcdl.environment import user_name

    chosen = [options.find(run, places) for run in runs]
    with tempfile.TemporaryDirectory(prefix="hpcdl-tensorboard-") as folder:
        _link(chosen, Path(folder))
        program, port = _tensorboard(), _free_port(host, port)
        here = f"{user_name()}@{socket.gethostname()}"
        options.say(f"on your own machine: ssh -N -L {port}:{host}:{port} {here}")
        options.say("starting; Ctrl-C ends it")
        return _serve([*program, "--logdir", folder], host, port, Path(folder))


def _serve(argv: list[str], host: str, port: int, folder: Path) -> int:
    """Run TensorBoard until Ctrl-C; it never outlives this process.

    Its messages are shown only if it fails, because TensorFlow prints many at its start. The file
    that TensorBoard leaves for other TensorBoards goes into `folder`, which is removed: in /tmp it
    would stay.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    noise = folder / ".stderr"
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TMPDIR": str(folder)}
    with noise.open("wb") as stderr:
        argv = [*argv, "--host", host, "--port", str(port)]
        server = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stderr=stderr)
    try:
        while server.poll() is None and not _answers(host, port):
            time.sleep(_POLL_S)
        if server.poll() is None:
            click.echo(f"http://{host}:{port}/")
            sys.stdout.flush()
        status = server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        server.wait()
    messages = noise.read_text(encoding="utf-8", errors="replace")
    options.say(f"{messages}TensorBoard ended with exit status {status}")
    return 1


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _tensorboard() -> list[str]:
    """The start of TensorBoard's argv: this Python's, else the one on PATH.

    Raises:
        UserError: it is not installed.
    """
    if find_spec("tensorboard") is not None:
        return [sys.executable, "-m", "tensorboard.main"]
    program = shutil.which("tensorboard")
    if program is None:
        from hpcdl.errors import UserError
        from hpcdl.extras import TENSORBOARD, pip_install

        raise UserError(f"TensorBoard is not installed here: {pip_install(*TENSORBOARD)}")
    return [program]


def _free_port(host: str, chosen: int | None) -> int:
    """The port to listen at: the chosen one, else TensorBoard's own, else any that is free.

    Raises:
        UserError: it cannot listen at the chosen port, or at any.
    """
    from hpcdl.errors import UserError

    port = chosen or _PORT
    try:
        return _try_port(host, port)
    except OSError as error:
        failure = error
    if chosen is None:
        try:
            return _try_port(host, 0)
        except OSError as error:
            failure = error
    reason = failure.strerror or failure
    message = f"cannot listen at {host}:{port}: {reason}; choose another --port"
    raise UserError(message) from failure


def _try_port(host: str, port: int) -> int:
    """The port that a server gets; the server is closed again. Port 0 lets the system choose."""
    with socket.create_server((host, port)) as server:
        return int(server.getsockname()[1])


def _link(runs: list[Run], folder: Path) -> None:
    """Give TensorBoard one folder in which each run's logs have the run's name.

    A link may lead to logs that do not exist yet: TensorBoard sees them once they do.

    Raises:
        UserError: none of the runs writes logs.
    """
    from hpcdl.errors import UserError

    for run in runs:
        if not _has_logs(run):
            continue
        link = folder / run.name
        link.parent.mkdir(exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(run.paths.tensorboard)
    if not any(folder.iterdir()):
        raise UserError("there is nothing for TensorBoard to show")


def _has_logs(run: Run) -> bool:
    """Whether a run has logs or will have some; if there are none yet, a line says why."""
    from hpcdl.run import records

    if run.paths.tensorboard.exists():
        return True
    if records.spec(run.paths).get("train", {}).get("tensorboard"):
        options.say(f"{run.name} has no logs yet; they come with its first epoch")
        return True
    advice = "set train.tensorboard to true in its job"
    if run.is_script():
        advice = "it is a script's run; hpcdl report draws the metrics that a script writes"
    options.say(f"{run.name} writes no logs for TensorBoard: {advice}")
    return False
