"""The private files by which hpcdl finds a notebook's page: its token, its address."""

import json
import os
import secrets
import shutil
import socket
from contextlib import suppress


class Page:
    """The files of one notebook.

    Args:
        folder: where they lie; nobody else may look into it.
    """

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)
        self.token = ""
        self.token_file = folder / "token"
        self.address = folder / "address.json"
        with suppress(FileNotFoundError):
            self.address.unlink()

    def new_token(self):
        """Make a token that nothing has heard of."""
        self.token = secrets.token_urlsafe(32)
        write_private(self.token_file, self.token)

    def write_address(self, port, ends):
        """Say where the server answers, and in which attempt of the run."""
        attempt = int(os.environ.get("HPCDL_ATTEMPT", "1"))
        place = {"host": socket.gethostname(), "port": port}
        content = {**place, "ends": ends, "attempt": attempt}
        write_private(self.address, json.dumps(content))

    def remove(self):
        """Remove the files: nothing answers there any more."""
        shutil.rmtree(str(self.folder), ignore_errors=True)


def write_private(path, text):
    """Write a file that only this user may read, aside first."""
    aside = path.with_name(f".{path.name}.new")
    descriptor = os.open(str(aside), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(str(aside), str(path))
