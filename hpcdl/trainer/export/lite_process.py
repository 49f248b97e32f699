"""``python -m hpcdl.trainer.export.lite_process FOLDER``: converts a graph to TensorFlow Lite.

A process of its own: on some graphs TensorFlow's converter ends its process with a signal, and a
training that is done must not end with it. `lite_client.Converter` starts it.

When the first line comes, FOLDER has ``graph``, a SavedModel whose signature takes one image, and
``representative.npy``, uint8 images. Each line of stdin is a JSON list of a kind and the path of
the file to make; each answer on stdout is a line of JSON: null, or the reason why it was not made.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Optional

import numpy as np
import tensorflow as tf

from hpcdl.trainer.export import lite


def main(folder: str) -> None:
    """Convert until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # TensorFlow prints, too
    for line in sys.stdin:
        kind, path = json.loads(line)
        why = _convert(kind, folder, path)
        answers.write(json.dumps(why) + "\n")
        answers.flush()


def _convert(kind: str, folder: str, path: str) -> Optional[str]:
    """Why a kind cannot be made; None once its file is there."""
    try:
        representative = np.load(os.path.join(folder, lite.REPRESENTATIVE))
        content = lite.convert(kind, os.path.join(folder, lite.GRAPH), representative)
        with open(path, "wb") as file:
            file.write(content)
    except (MemoryError, tf.errors.ResourceExhaustedError):
        return "there is not enough memory for it"
    except OSError as error:
        return "it cannot be written: {}".format(error)
    except Exception as error:
        return lite.reason(str(error))
    return None


if __name__ == "__main__":
    main(sys.argv[1])
