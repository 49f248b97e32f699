"""JupyterLab in a job, for hpcdl notebook: on the node's loopback, with a token in a private file.

It ends with its time limit: the page is warned and asked to save before. Like the modules that it
imports, it needs Python 3.8 and the standard library only, for it runs in the image.
"""

import argparse
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

from jupyter_access import NoPageError
from jupyter_page import Page
from jupyter_process import Server

WARNINGS_S = (600, 120)  # how long before the end the page is warned
SAVE_S = 6  # the page looks for notices every 2 s, and saves what is open
LOOK_AGAIN_S = 1800  # whether it is still closed to others: each look is some lines of the log


def main():
    """Run JupyterLab until its page shuts it down, or the run is asked to stop.

    Returns:
        the exit status.
    """
    parser = argparse.ArgumentParser()
    words = "how long before the job's end it is asked to stop"
    parser.add_argument("--stop-margin-s", type=float, help=words)
    ends = end_of_job(parser.parse_args().stop_margin_s)
    if importlib.util.find_spec("jupyterlab") is None:
        print(f"there is no JupyterLab for {sys.executable}: see hpcdl env build", file=sys.stderr)
        return 1
    umask = os.umask(0o077)
    received = []
    signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    stop_file = Path(os.environ["HPCDL_STOP_FILE"])
    page = Page(stop_file.with_name("jupyter"))
    own = Path(tempfile.mkdtemp(prefix="jupyter-"))
    server = Server(page, own, umask)
    try:
        if not server.start(lambda: bool(received) or stop_file.exists()):
            return server.status() or 1
        page.write_address(server.port, ends)
        status = watch(server, received, stop_file, ends)
        return status if not received else 128 + received[0]
    except NoPageError as error:
        server.end()
        explain(error, server)
        return 1
    finally:
        server.end()
        page.remove()
        shutil.rmtree(str(own), ignore_errors=True)


def end_of_job(margin_s):
    """When the notebook ends with its job's time limit (unix time); None if nobody knows.

    Args:
        margin_s: how long before its limit the job asks it to stop; None if nobody knows.
    """
    limit = os.environ.get("HPCDL_END_TIME")
    return None if limit is None or margin_s is None else float(limit) - margin_s


def explain(error, server):
    """Say why there is no page, and what to do where a setting of Jupyter is the reason."""
    print(f"hpcdl: {error}", file=sys.stderr)
    if not error.is_setting:
        return
    files = server.configuration()
    if files:
        print(f"hpcdl: what Jupyter reads here: {', '.join(files)}", file=sys.stderr)
    place = "one of these files" if files else "the image's etc/jupyter"
    print(
        f"hpcdl: a setting in {place} does this, such as login_handler_class, or an extension that"
        " it enables: remove that there, or use another image",
        file=sys.stderr,
    )


def watch(server, received, stop_file, ends):
    """Wait for the server's end, or end it when the run is asked to stop.

    Args:
        server: the running server.
        received: the signals that this process has got.
        stop_file: the file that asks the run to stop.
        ends: when that will be (unix time); None if nobody knows.

    Returns:
        the exit status.

    Raises:
        NoPageError: others can use it.
    """
    left_to_say = list(WARNINGS_S)
    next_look = time.monotonic() + LOOK_AGAIN_S
    while True:
        status = server.status()
        if status is not None:
            return status
        if received:
            return 0
        if stop_file.exists():
            server.tell("ends now: its page saves what is open", is_end=True)
            time.sleep(SAVE_S)
            return 0
        left_s = None if ends is None else ends - time.time()
        if left_s is not None and left_to_say and left_s <= left_to_say[0]:
            left_to_say = [lead_s for lead_s in left_to_say if lead_s < left_s]
            server.tell(f"ends in {in_words(left_s)}, with its time limit: save what you need")
        if time.monotonic() >= next_look:
            with suppress(OSError, HTTPException):  # it is busy
                server.require_closed()
            next_look = time.monotonic() + LOOK_AGAIN_S
        time.sleep(0.5)


def in_words(seconds):
    """A time for people: in minutes, or in seconds where it is short."""
    if seconds < 90:
        return f"{max(0, seconds):.0f} seconds"
    return f"{seconds / 60:.0f} minutes"


if __name__ == "__main__":
    sys.exit(main())
