"""Looks at paths in a separate process: on a dead mount it hangs, and the caller does not wait.

It is started with ``-m`` and one argument, the paths as JSON: ``{path: whether to read it}``. Each
path has a thread, which prints a line of JSON as soon as the path answers.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

HEAD_BYTES = 128  # a SIF file's global header


def look(path: str, read: bool) -> dict[str, Any]:
    """Look at one path.

    Args:
        path: the path.
        read: whether to read it, not only to see that it exists.

    Returns:
        ``path``; ``size`` in bytes and ``head`` (hex) of a file that was read; ``error`` if it
        cannot be used.
    """
    answer: dict[str, Any] = {"path": path}
    try:
        if not read:
            os.stat(path)
        elif os.path.isdir(path):
            os.listdir(path)
        else:
            with open(path, "rb") as stream:
                answer.update(
                    head=stream.read(HEAD_BYTES).hex(), size=os.fstat(stream.fileno()).st_size
                )
    except OSError as error:
        answer["error"] = error.strerror or str(error)
    return answer


def _say(path: str, read: bool) -> None:
    os.write(1, f"{json.dumps(look(path, read))}\n".encode())


if __name__ == "__main__":
    for each_path, is_read in json.loads(sys.argv[1]).items():
        threading.Thread(target=_say, args=(each_path, is_read)).start()
