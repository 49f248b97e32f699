"""Programs of others read what a run exports: Google's protos, LiteRT, ONNX Runtime."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.trainer.conftest import REPOSITORY, each_keras

PINS = REPOSITORY / ".ci" / "readers-3.11.txt"
PROTOS = """
import json, sys
import tensorflow as tf
from google.protobuf import text_format
from pathlib import Path
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

folder = Path(sys.argv[1])
config = text_format.Parse((folder / "models.config").read_text(), ModelServerConfig())
(served,) = config.model_config_list.config
(version,) = served.model_version_policy.specific.versions
path = folder / served.name / str(version)
model, answered = tf.saved_model.load(str(path)), []
for record in tf.data.TFRecordDataset(str(path / "assets.extra" / "tf_serving_warmup_requests")):
    request = PredictionLog.FromString(record.numpy()).predict_log.request
    assert request.model_spec.name == served.name
    inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
    labels = model.signatures[request.model_spec.signature_name](**inputs)["label"].numpy()
    answered.append([request.model_spec.signature_name, len(labels)])
print(json.dumps({"labels": dict(served.version_labels), "version": version, "answered": answered}))
"""
LITERT = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter

file, images, answers = sys.argv[1:]
model = Interpreter(file)
kind = model.get_input_details()[0]["dtype"]
answer = model.get_signature_runner()
rows = []
for image in np.load(images)["x_test"].reshape(-1, 1, 10, 10, 1):
    pixels = image if kind == np.uint8 else image.astype(np.float32) / 255
    rows.append(answer(images=pixels)["probabilities"][0])
np.save(answers, rows)
"""
ONNX = """
import sys
import numpy as np
import onnxruntime

file, images, answers = sys.argv[1:]
session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
(given,), (got,) = session.get_inputs(), session.get_outputs()
images = np.load(images)["x_test"].reshape(-1, 10, 10, 1).astype(np.float32) / 255
together = session.run([got.name], {given.name: images})[0]
(alone,) = session.run([got.name], {given.name: images[:1]})[0]
assert abs(alone - together[0]).max() < 1e-6
np.save(answers, together)
"""
EXPORT = "import sys; from hpcdl.trainer.export.__main__ import main; sys.exit(main(sys.argv[1:]))"
on_host = pytest.mark.parametrize("trainer_command", ["host"], indirect=True, scope="session")


@pytest.fixture(scope="session")
def read(tmp_path_factory):
    """Runs a program with these packages, which are installed first."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip(f"{PINS.name} is for Python 3.11")
    folder = tmp_path_factory.mktemp("readers")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*pip, "--requirement", str(PINS)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"packages cannot be installed here: {done.stderr.strip()[-200:]}")

    def run(program, *arguments):
        argv = [sys.executable, "-c", program, *map(str, arguments)]
        path = os.pathsep.join([str(folder), *sys.path])
        done = subprocess.run(
            argv, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


@each_keras
@pytest.mark.tensorflow
def test_protos_of_serving_read_folder(exported, read):
    version = exported.json("export/model.json")["version"]

    seen = json.loads(read(PROTOS, exported.path / "export" / "serving"))

    assert seen == {
        "labels": {"stable": version},
        "version": version,
        "answered": [["serving_default", 2], ["pixels", 2]],
    }


@each_keras
@pytest.mark.tensorflow
def test_litert_answers_as_model_does(exported, read, tmp_path):
    with np.load(exported.path / "predictions.npz") as file:
        trained = file["probabilities"]
    for kind, most in (("tflite", 1e-5), ("float16", 0.01), ("int8", 0.1)):
        name = {"tflite": "model.tflite"}.get(kind, f"model.{kind}.tflite")
        answers = tmp_path / f"{kind}.npy"
        read(LITERT, exported.path / "export" / name, exported.path / "data.npz", answers)
        assert abs(np.load(answers) - trained).max() < most


@on_host
@pytest.mark.tensorflow
def test_onnx_runtime_answers_as_model_does(exported, read, tmp_path):
    """In a Python with tf2onnx, which the run's own lacked: the reason gives way to a file."""
    run = shutil.copytree(exported.path, tmp_path / "run")
    with np.load(run / "predictions.npz") as file:
        trained = file["probabilities"]

    read(EXPORT, run / "run.json", "onnx")
    read(ONNX, run / "export" / "model.onnx", run / "data.npz", tmp_path / "answers.npy")

    assert abs(np.load(tmp_path / "answers.npy") - trained).max() < 1e-5
    rows = json.loads((run / "export" / "export.json").read_text())["kinds"]
    (row,) = [row for row in rows if row["kind"] == "onnx"]
    assert (row["rows"], row["agreement"]) == (101, 1)
    assert "why" not in row
