"""Waits until a notebook answers, prints how to reach it, and opens it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options
from hpcdl.cli.talk import Talk
from hpcdl.text import hpcdl_command

if TYPE_CHECKING:
    from hpcdl.jupyter.page import Page
    from hpcdl.run import Run
    from hpcdl.run.state import Status

_LOG_LINES = 12  # of a notebook that has not come up
_TUNNEL_S = 30  # for ssh to the node


def show_page(run: Run, opens: bool) -> int:
    """Wait until a notebook answers, and print the ssh line and its address.

    Args:
        run: its run.
        opens: whether to open it in this machine's browser.

    Returns:
        the exit code: 0; 1 if it has ended, 130 if the user left by Ctrl-C.
    """
    try:
        page, status = _wait(run)
        if page is None:
            return _say_end(run, status)
        _print(run, page, status)
        return _open(run, page, status) if opens else 0
    except KeyboardInterrupt:
        again, end = hpcdl_command("notebook", run.paths.root), hpcdl_command("cancel", run.name)
        options.say(f"\nthe notebook stays; its address again: {again}; end it with: {end}")
        return 130


def _wait(run: Run) -> tuple[Page | None, Status]:
    """Wait until it answers, or has ended.

    Returns:
        the page, None if it has ended; and the run's status.
    """
    from hpcdl.cli.watching import state_line
    from hpcdl.jupyter.page import read_page

    shown = ""
    with _talk() as talk:
        for status in run.watch():
            page = read_page(run.paths, status)
            if page is not None or status.final:
                break
            line = state_line(status)
            if status.state == "running":
                line += "; JupyterLab starts"
            if line != shown:
                talk.say(line)
            shown = line
    return (None if status.final else page), status


def _talk() -> Talk:
    """What says the lines, with a sign of life on a terminal."""
    talk = Talk()
    if sys.stderr.isatty():
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        talk.bars(SpinnerColumn(), TextColumn("waiting"), TimeElapsedColumn(), transient=True)
        talk.progress.add_task("", total=None)
    return talk


def _say_end(run: Run, status: Status) -> int:
    """Say why there is no page; the exit code."""
    from hpcdl.cli.run_lines import failure_lines
    from hpcdl.run.logs import tail
    from hpcdl.run.tidying import forget_page

    forget_page(run.paths)
    if status.state == "done":
        options.say(f"the notebook has ended: {run.paths.root}")
        return 1
    for line in failure_lines(run, status):
        options.say(line)
    if status.state == "cancelled":
        return 1
    for log in run.logs()[-1:]:
        for line in tail(log).splitlines()[-_LOG_LINES:]:
            options.say(f"  {line}")
    return 1


def _print(run: Run, page: Page, status: Status) -> None:
    from hpcdl.jupyter.page import ssh_line

    if run.job_ids():
        options.say("on your own computer, in a terminal that stays open:")
        click.echo(ssh_line(page, status.node or page.host))
        options.say("then, in your computer's browser:")
    click.echo(page.url)
    until = ""
    if page.ends is not None:
        until = f" at {time.strftime('%H:%M', time.localtime(page.ends))}, with its time limit,"
    options.say(f"it ends{until} or with: {hpcdl_command('cancel', run.name)}")


def _open(run: Run, page: Page, status: Status) -> int:
    """Open the page here, through a tunnel where it is on another machine; the exit code."""
    if not _has_display():
        options.say("there is no display here for --open: use your own computer, as above")
        return 0
    if page.is_here:
        _browse(run, page.url)
        return 0
    from hpcdl.jupyter.page import tunnel_from_here

    port = _free_port()  # others use this machine, too: the notebook's own may be taken
    argv = tunnel_from_here(page, status.node or page.host, port)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as ssh:
        try:
            if not _is_through(ssh, port):
                options.say("ssh does not reach the node from here: use your own computer")
                return 1
            _browse(run, page.url_at(port))
            options.say("the tunnel lasts until Ctrl-C")
            ssh.wait()
        finally:
            ssh.terminate()
    return 0


def _has_display() -> bool:
    names = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return sys.platform != "linux" or any(os.environ.get(name) for name in names)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_through(ssh: subprocess.Popen[bytes], port: int) -> bool:
    """Wait for ssh's end of the tunnel; False if it does not come."""
    deadline = time.monotonic() + _TUNNEL_S
    while ssh.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.2)
    return False


def _browse(run: Run, url: str) -> None:
    """Open the browser on a private file that leads to the page: argv is seen by everybody."""
    import webbrowser

    from hpcdl.files import write_text

    file = run.paths.jupyter / "open.html"
    redirect = f'<meta http-equiv="refresh" content="0; url={url}">\n'
    write_text(file, redirect, mode=0o600)
    if not webbrowser.open_new_tab(file.as_uri()):
        options.say("there is no browser here for --open: use your own computer, as above")
