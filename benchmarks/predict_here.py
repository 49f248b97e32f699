"""How soon is the first answer of `hpcdl predict --here` there, and how fast are the others?

It is compared with a plain script that does the same with LiteRT and Pillow alone. The first answer's
goal is half a second.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from measure import in_turn, show, show_machine

CHECKOUT = Path(__file__).resolve().parents[1]
PLAIN = """
import json, pathlib, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

export, folder = map(pathlib.Path, sys.argv[1:])
about = json.loads((export / "model.json").read_text())
height, width, channels = about["shape"]
model = Interpreter(str(export / "model.tflite"))
model.allocate_tensors()
taken, given = model.get_input_details()[0]["index"], model.get_output_details()[0]["index"]
print("file,answer,confidence", flush=True)
for path in sorted(folder.rglob("*.*")):
    image = Image.open(path).convert("L" if channels == 1 else "RGB")
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.float32).reshape(1, height, width, channels) / 255
    model.set_tensor(taken, pixels)
    model.invoke()
    answer = model.get_tensor(given)[0]
    print(f"{path},{about['class_names'][answer.argmax()]},{answer.max():.6f}", flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="a run's folder, with export/model.tflite")
    parser.add_argument("folder", type=Path, help="of images")
    parser.add_argument("--pairs", type=int, default=10, help="of measurements (default: 10)")
    options = parser.parse_args()
    show_machine()
    run = options.run.resolve()
    hpcdl = [sys.executable, "-m", "hpcdl", "predict", str(run), str(options.folder), "--here"]
    plain = [sys.executable, "-c", PLAIN, str(run / "export"), str(options.folder)]
    shape = json.loads((run / "export" / "model.json").read_text())["shape"]
    print(f"images become {'x'.join(map(str, shape))}")
    for what, seconds in (("first answer", first_s), ("all answers", whole_s)):
        show(what, *in_turn(partial(seconds, hpcdl), partial(seconds, plain), options.pairs))
    show_machine()


def first_s(command: Sequence[str]) -> float:
    """Seconds until the second line, the first image's."""
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=CHECKOUT
    ) as process:
        if process.stdout is None:
            raise AssertionError("a pipe was asked for")
        process.stdout.readline()
        process.stdout.readline()
        seconds = time.perf_counter() - began
        process.kill()
    return seconds


def whole_s(command: Sequence[str]) -> float:
    """Seconds until all images are answered."""
    began = time.perf_counter()
    subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=CHECKOUT, check=True
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
