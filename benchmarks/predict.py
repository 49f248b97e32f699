"""How long does it take to predict a folder of photos, from the program's start to the CSV file, beside plain Keras?"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
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
# A network and its export, as `hpcdl export --to tflite` makes it: FILE SIZE NET
MODEL = """
import sys
import numpy as np
import tensorflow as tf
from hpcdl.trainer.export import lite
from hpcdl.trainer.export.members import Member
from hpcdl.trainer.export.served import Intake, Served
file, size, net = sys.argv[1], int(sys.argv[2]), sys.argv[3]
layers = tf.keras.layers
images = tf.keras.Input((size, size, 3))
if net == "mobilenet":
    network = tf.keras.applications.MobileNetV2((size, size, 3), include_top=False, weights=None, pooling="avg")
    for layer in network.layers:
        layer.momentum = 0.0
    noise = np.random.default_rng(0).random((16, size, size, 3), np.float32)
    network(noise, training=True)  # so that it answers differently for different images
    features = network(images)
else:
    features = images
    for filters in (32, 64):
        features = layers.Conv2D(filters, 3, activation="relu")(features)
        features = layers.MaxPooling2D()(features)
    features = layers.Dense(128, "relu")(layers.Flatten()(features))
model = tf.keras.Model(images, layers.Dense(10, "softmax")(features))
with_scaling = tf.keras.Sequential([tf.keras.Input((size, size, 3)), layers.Rescaling(1 / 255), model])
with_scaling.save(file)
served = Served([Member(model, file, {"output": "softmax"})], Intake((size, size, 3), 3, True), "0123456789")
tf.saved_model.save(served, file + ".graph", signatures={lite.SIGNATURE: served.single()})
with open(file + ".tflite", "wb") as content:
    content.write(lite.convert("tflite", file + ".graph", None))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="a folder with photos in it")
    parser.add_argument("--image", help="the container; by default this Python's TensorFlow")
    parser.add_argument("--photos", type=int, default=2000, help="default: 2000")
    parser.add_argument("--size", type=int, default=96, help="of the model's images (default: 96)")
    parser.add_argument(
        "--net",
        choices=("mobilenet", "small"),
        default="mobilenet",
        help="MobileNetV2, or two convolutions and two dense layers",
    )
    parser.add_argument(
        "--no-export", action="store_true", help="as if the run had exported nothing"
    )
    parser.add_argument(
        "--processor-time", action="store_true", help="in the place of time; for a busy machine"
    )
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
        start([*python, "-c", MODEL, str(place / file), str(options.size), options.net])
        shape = [options.size, options.size, 3]
        member = Member(
            str(place), file, shape, 255.0, lite="" if options.no_export else file + ".tflite"
        )
        ours, theirs = in_turn(
            partial(with_hpcdl, python, place, member),
            partial(plainly, python, place, file, options.size),
            options.pairs,
        )
        show_difference(place)
    what = f"{options.photos} photos, {options.net}, hpcdl {hpcdl.__version__} / plain"
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


def with_hpcdl(python: list[str], place: Path, member: Member) -> float:
    folder = place / "prediction"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    spec = PredictSpec("photos", str(place / "photos"), [str(n) for n in range(10)], [member])
    (folder / "predict.json").write_text(spec.to_json())
    argv = [*python, "-m", "hpcdl.trainer", "predict", str(folder / "predict.json")]
    begun = time.time()
    seconds = start(argv)
    written = (folder / "predictions.csv").stat().st_mtime
    if "--processor-time" in sys.argv:
        return seconds
    return written - begun  # heat maps come after the table


def show_difference(place: Path) -> None:
    """What worked, and how far both tables are apart. Keras resizes in another way: the answers differ."""
    result = json.loads((place / "prediction/result.json").read_text())
    with (
        (place / "prediction/predictions.csv").open(newline="") as ours,
        (place / "plain.csv").open(newline="") as theirs,
    ):
        pairs = list(zip(list(csv.reader(ours))[1:], csv.reader(theirs), strict=True))
    same = sum(mine[1] == other[1] for mine, other in pairs)
    print(
        f"{result['engine']}; {same} of {len(pairs)} answers are those of plain Keras", flush=True
    )


def plainly(python: list[str], place: Path, file: str, size: int) -> float:
    script = str(CHECKOUT / "benchmarks/plain_predict.py")
    table = str(place / "plain.csv")
    return start([*python, script, str(place / file), str(place / "photos"), str(size), table])


def start(argv: list[str]) -> float:
    """The seconds that a program takes, from its start to its end."""
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    begun, of_processors = time.perf_counter(), processor_s()
    subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if "--processor-time" in sys.argv:
        return processor_s() - of_processors
    return time.perf_counter() - begun


def processor_s() -> float:
    """The processor time of all programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
