"""How long does it take to predict a folder of photos, from the program's start to the CSV file, beside plain Keras?"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from measure import in_turn, show, show_machine

import hpcdl
from hpcdl.contract.predict_spec import Member, PredictSpec

CHECKOUT = Path(__file__).resolve().parents[1]
GOAL = 1 / 2
MODEL = """
import sys
import tensorflow as tf
size = int(sys.argv[2])
network = tf.keras.applications.MobileNetV2((size, size, 3), include_top=False, weights=None, pooling="avg")
images = tf.keras.Input((size, size, 3))
outputs = tf.keras.layers.Dense(10, "softmax")(network(tf.keras.layers.Rescaling(1 / 255)(images)))
tf.keras.Model(images, outputs).save(sys.argv[1])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="a folder with photos in it")
    parser.add_argument("--image", help="the container; by default this Python's TensorFlow")
    parser.add_argument("--photos", type=int, default=2000, help="default: 2000")
    parser.add_argument("--size", type=int, default=96, help="of the model's images (default: 96)")
    parser.add_argument("--pairs", type=int, default=3, help="default: 3")
    options = parser.parse_args()
    show_machine()
    with tempfile.TemporaryDirectory(prefix="hpcdl-predict-") as name:
        place = Path(name)
        python = [sys.executable]
        if options.image:
            binds = ["--bind", str(CHECKOUT), "--bind", str(place)]
            enter = ["apptainer", "exec", "--userns", "--no-home", *binds]
            python = [*enter, options.image, "python"]
        copy_photos(options.data, place / "photos", options.photos)
        file = "model.h5" if options.image and "2.11" in options.image else "model.keras"
        start([*python, "-c", MODEL, str(place / file), str(options.size)])
        ours, theirs = in_turn(
            partial(with_hpcdl, python, place, file, options.size),
            partial(plainly, python, place, file, options.size),
            options.pairs,
        )
    what = f"{options.photos} photos, hpcdl {hpcdl.__version__} / plain"
    show(what, ours, theirs, GOAL)
    show_machine()


def copy_photos(source: Path, target: Path, count: int) -> None:
    """Copies of a folder's photos, again and again until there are enough."""
    photos = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    for number in range(count):
        photo = photos[number % len(photos)]
        copy = target / photo.parent.name / f"{number:06}{photo.suffix}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo, copy)


def with_hpcdl(python: list[str], place: Path, file: str, size: int) -> float:
    folder = Path(tempfile.mkdtemp(dir=place))
    member = Member(str(place), file, [size, size, 3], 255.0)
    spec = PredictSpec("photos", str(place / "photos"), [str(n) for n in range(10)], [member])
    (folder / "predict.json").write_text(spec.to_json())
    argv = [*python, "-m", "hpcdl.trainer", "predict", str(folder / "predict.json")]
    seconds = start(argv)
    assert (folder / "predictions.csv").exists()
    return seconds


def plainly(python: list[str], place: Path, file: str, size: int) -> float:
    script = str(CHECKOUT / "benchmarks/plain_predict.py")
    table = str(place / "plain.csv")
    return start([*python, script, str(place / file), str(place / "photos"), str(size), table])


def start(argv: list[str]) -> float:
    """The seconds that a program takes, from its start to its end."""
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    begun = time.perf_counter()
    subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
