"""Notices of a notebook's end, in JupyterLab's page and in the terminals that are open in it."""

import json
import os
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

from jupyter_page import write_private

EXTENSION = "hpcdl-notice"


class Notices:
    """The extension that shows them, and the file in which it looks for them.

    Args:
        folder: JupyterLab's folder for extensions.
    """

    def __init__(self, folder):
        self.extension = folder / EXTENSION
        self.notice = self.extension / "static" / "notice.json"

    def install(self):
        """Write the extension, before the server starts."""
        self.notice.parent.mkdir(parents=True)
        script = Path(__file__).with_name("jupyter_notice.js")
        shutil.copy(str(script), str(self.notice.with_name("notice.js")))
        write_private(self.notice, json.dumps({"id": 0}))
        build = {"load": "static/notice.js", "extension": "./extension"}
        about = {"name": EXTENSION, "version": "1.0.0", "jupyterlab": {"_build": build}}
        write_private(self.extension / "package.json", json.dumps(about))

    def show(self, words, server, is_end):
        """Show one, and print it.

        Args:
            words: what happens to this notebook.
            server: the process of the server.
            is_end: whether the page is to save what is open.
        """
        text = f"hpcdl: this notebook {words}"
        say(text)
        content = {"id": time.time(), "text": text, "save": is_end}
        with suppress(OSError):
            write_private(self.notice, json.dumps(content))
        for process in shells_of(server):
            with suppress(OSError):
                write_to_terminal(process, f"\r\n\a*** {text} ***\r\n")


def say(text):
    """Print a line in one piece: the server's output is printed by another thread."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def shells_of(server):
    """The processes of a server that have a terminal: those of the page's terminals."""
    shells = []
    for name in os.listdir("/proc"):
        with suppress(OSError, ValueError, IndexError):
            stat = Path("/proc", str(int(name)), "stat")
            text = stat.read_text(encoding="utf-8", errors="replace")
            _, parent, _, session, terminal = text.rpartition(")")[2].split()[:5]
            if (int(parent), session) == (server, name) and terminal != "0":
                shells.append(int(name))
    return shells


def write_to_terminal(process, text):
    """Write to the terminal of a shell, as wall(1) does."""
    flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK
    descriptor = os.open(f"/proc/{process}/fd/0", flags)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
