"""Has graphs converted to TensorFlow Lite by another process, which may die of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from hpcdl.trainer.export import lite
from hpcdl.trainer.export.errors import NotExported
from hpcdl.trainer.export.served import Served


class Converter:
    """A process that converts one graph to the kinds of TensorFlow Lite.

    Args:
        folder: where the graph waits for the process; made when it is needed, removed by `close`.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._process: Optional[subprocess.Popen[str]] = None

    def start(self) -> None:
        """Start the process, which imports TensorFlow: meanwhile this one reads its models."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hpcdl.trainer.export.lite_process", self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=2,  # TensorFlow's own messages have their log
            encoding="utf-8",
            env=dict(os.environ, CUDA_VISIBLE_DEVICES="-1"),  # the training has the GPUs
        )

    def take(self, served: Served, representative: Any) -> None:
        """Save what is to be converted.

        Args:
            served: the models.
            representative: uint8 images.
        """
        os.makedirs(self._folder, exist_ok=True)
        signatures = {lite.SIGNATURE: served.single()}
        tf.saved_model.save(served, os.path.join(self._folder, lite.GRAPH), signatures=signatures)
        np.save(os.path.join(self._folder, lite.REPRESENTATIVE), representative)

    def convert(self, kind: str, path: str) -> None:
        """Make the file of a kind.

        Raises:
            NotExported: it cannot be made.
        """
        if self._process is None:
            self.start()
        process = self._process
        assert process is not None  # noqa: S101 - for mypy
        assert process.stdin is not None  # noqa: S101 - likewise
        assert process.stdout is not None  # noqa: S101 - likewise
        answer = ""
        try:
            process.stdin.write(json.dumps([kind, path]) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            pass
        if not answer:
            raise NotExported(self._end())
        why = json.loads(answer)
        if why is not None:
            raise NotExported(why)

    def close(self) -> None:
        """End the process and remove the graph."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self) -> str:
        """Why the process ended; the next kind gets a new one."""
        process, self._process = self._process, None
        assert process is not None  # noqa: S101 - for mypy
        process.communicate()
        status = process.returncode
        how = "exit status {}".format(status)
        if status < 0:
            how = signal.Signals(-status).name
        return "TensorFlow Lite's converter crashed ({})".format(how)
