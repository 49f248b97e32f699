"""What a run exports: each kind answers as the trained model does, and is whole or not there."""

import base64
import contextlib
import errno
import hashlib
import http.client
import json
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from hpcdl.contract.checks import spec_problems
from hpcdl.contract.spec import FunctionSpec, MlpSpec, TrainSpec
from hpcdl.trainer.export.files import ExportFolder, facts_of
from tests.trainer.conftest import each_keras

SHORT = TrainSpec(epochs=2, batch_size=20)
on_host = pytest.mark.parametrize("trainer_command", ["host"], indirect=True, scope="session")
GRAPHS = ("serving", "saved_model", "tflite", "dynamic", "float16", "int8", "int16x8")
MODELS = '''
"""A model that TensorFlow Lite cannot take as int8."""
import json, os, signal
import tensorflow as tf
from hpcdl.trainer.files import rundir

layers = tf.keras.layers


class Gamma(layers.Layer):  # on which the converter to int8 dies in some versions
    def call(self, inputs):
        return inputs + 0.01 * tf.math.lgamma(tf.abs(inputs) + 1.0)


def sequential(shape, classes, first):
    last = layers.Dense(classes, "softmax")
    return tf.keras.Sequential([tf.keras.Input(shape), first, layers.Flatten(), last])


def gamma(shape, classes):
    return sequential(shape, classes, Gamma())


write_json = rundir.write_json


def and_die(path, value):
    write_json(path, value)
    if path.endswith("heartbeat.json") and value.get("kind") == os.environ.get("KILL_AT_KIND", "-"):
        os.kill(os.getpid(), signal.SIGKILL)


rundir.write_json = and_die
'''


@pytest.fixture(scope="module")
def odd(make_run, run_trainer):
    """A run with an operation that int8 lacks; killed while it exported, and resumed."""
    kinds = ["saved_model", "int8", "h5"]
    folder = make_run(model=FunctionSpec("odd:gamma"), train=SHORT, export=kinds)
    (folder.path / "odd.py").write_text(MODELS)
    killed = run_trainer(folder, KILL_AT_KIND="int8")
    assert killed.status in (-9, 137), killed.stderr
    assert (killed.path / "export" / "saved_model").is_dir()
    return run_trainer(folder, HPCDL_ATTEMPT="2")


def rows_of(run):
    return {row["kind"]: row for row in run.json("export/export.json")["kinds"]}


def keras_3(run):
    return int(run.json("result.json")["versions"]["keras"][0]) >= 3


@each_keras
@pytest.mark.tensorflow
def test_kinds_answer_as_model_does(exported):
    rows, test = rows_of(exported), exported.json("result.json")["test"]

    for kind in GRAPHS:
        row = rows[kind]
        assert row["rows"] == test["rows"] == 101
        assert row["agreement"] >= (0.9 if "int" in kind else 0.97), row
        assert row["ms"] > 0
    assert rows["page"]["difference"] < 0.001
    assert rows["page"]["bytes"] < 150_000
    assert "ms" not in rows["page"]  # a browser runs it
    for kind in ("serving", "saved_model", "tflite"):
        assert rows[kind]["accuracy"] == pytest.approx(test["accuracy"], abs=1e-6)
        assert rows[kind]["difference"] < 1e-6


@each_keras
@pytest.mark.tensorflow
def test_table_describes_files(exported):
    rows = rows_of(exported)

    assert exported.json("result.json")["export"] == exported.json("export/export.json")["kinds"]
    for kind in GRAPHS:
        path = exported.path / "export" / rows[kind]["file"]
        files = [file for file in path.rglob("*") if file.is_file()] or [path]
        assert rows[kind]["bytes"] == sum(file.stat().st_size for file in files)
        assert 0 < rows[kind]["gzip"] < rows[kind]["bytes"]
    model = exported.path / "export" / "model.tflite"
    assert rows["tflite"]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    left = {path.name for path in (exported.path / "export").iterdir()}
    assert left == {"export.json", "model.json"} | {
        row["file"] for row in rows.values() if "file" in row
    }


@each_keras
@pytest.mark.tensorflow
def test_kinds_that_image_lacks_are_named(exported):
    rows = rows_of(exported)

    assert "tf2onnx cannot be imported" in rows["onnx"]["why"]
    assert "onnx is not exported: tf2onnx" in exported.stdout
    assert rows["h5"]["agreement"] == 1
    if keras_3(exported):
        assert rows["keras"]["agreement"] == 1
    else:
        assert "ask for h5" in rows["keras"]["why"]


@each_keras
@pytest.mark.tensorflow
def test_model_json_says_what_model_takes(exported):
    about = exported.json("export/model.json")

    assert about["shape"] == [10, 10, 1]
    assert (about["channels"], about["range"], about["class_names"]) == (
        "grey",
        [0, 1],
        ["0", "1", "2"],
    )
    assert about["stored_channels"] == 1
    assert about["runs"] == [exported.path.name]
    with np.load(exported.path / "predictions.npz") as file:
        assert about["test"]["confidence"] == pytest.approx(
            file["probabilities"].max(axis=1).mean()
        )
    version = exported.path / "export" / "serving" / "test" / str(about["version"])
    assert json.loads((version / "assets.extra" / "model.json").read_text()) == about
    assert f"versions: {about['version']}" in (version.parents[1] / "models.config").read_text()


def png(image):
    """A grey image as a PNG file."""
    height, width = image.shape

    def chunk(kind, content):
        head = struct.pack(">I", len(content)) + kind + content
        return head + struct.pack(">I", zlib.crc32(kind + content))

    lines = b"".join(b"\0" + row.tobytes() for row in image)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


@pytest.fixture
def rest(exported):
    """Asks a server of the exported model: (path, body) to (status, answer)."""
    argv = [
        sys.executable,
        str(Path(__file__).with_name("rest_server.py")),
        str(exported.path / "export" / "serving"),
    ]
    server = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    address = server.stdout.readline().strip()

    def ask(path, body):
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=180)
        with contextlib.closing(connection):
            connection.request("POST", urlsplit(address).path + path, json.dumps(body))
            reply = connection.getresponse()
            return reply.status, json.load(reply)

    with server:
        yield ask
        server.kill()


@on_host
@pytest.mark.tensorflow
def test_served_over_rest_equals_trained(exported, arrays, rest):
    with np.load(exported.path / "predictions.npz") as file:
        labels, trained = file["labels"], file["probabilities"]
    images = arrays["x_test"]
    content = [{"b64": base64.b64encode(png(image)).decode()} for image in images]

    status, answer = rest("test:predict", {"instances": content})
    assert status == 200, answer
    served = np.array([row["probabilities"] for row in answer["predictions"]], np.float32)
    np.testing.assert_allclose(served, trained, atol=1e-6)
    answers = [int(row["label"]) for row in answer["predictions"]]
    assert np.mean(answers == labels) == pytest.approx(
        exported.json("result.json")["test"]["accuracy"]
    )
    pixels = {"signature_name": "pixels", "inputs": images[..., None].tolist()}
    status, answer = rest("test/labels/stable:predict", pixels)
    np.testing.assert_allclose(answer["outputs"]["probabilities"], served, atol=1e-6)

    wrong = {**pixels, "inputs": (images[..., None].astype(int) + 200).tolist()}
    for path, body in [
        ("test:predict", wrong),
        ("test:predict", {"instances": [{"b64": base64.b64encode(b"no image").decode()}]}),
        ("test:predict", {**pixels, "inputs": images.tolist()}),
    ]:
        assert rest(path, body)[0] == 400


@on_host
@pytest.mark.tensorflow
def test_converter_may_die(odd):
    rows = rows_of(odd)

    assert odd.status == 0, odd.stderr
    assert odd.json("result.json")["state"] == "done"
    assert "TensorFlow Lite" in rows["int8"]["why"]  # it dies, or says what it lacks
    assert rows["saved_model"]["difference"] < 1e-6
    assert rows["h5"]["agreement"] == 1
    assert not (odd.path / "export" / "model.int8.tflite").exists()


@on_host
@pytest.mark.tensorflow
def test_killed_export_starts_without_training(odd):
    assert not any(line.startswith("epoch ") for line in odd.stdout.splitlines())
    assert odd.stdout.count("export ") == 1


@on_host
@pytest.mark.tensorflow
def test_folds_are_exported_as_mean(make_run, run_trainer):
    train = TrainSpec(epochs=1, batch_size=20, cross_validation=2)
    run = run_trainer(
        make_run(model=MlpSpec(dense=[8]), train=train, export=["serving", "int8", "keras"])
    )
    rows = rows_of(run)

    each = []
    for fold in "12":
        with np.load(run.path / "folds" / fold / "predictions.npz") as file:
            each.append(file["probabilities"])
            labels = file["labels"]
    mean = (each[0] + each[1]) / 2
    assert rows["serving"]["accuracy"] == pytest.approx((mean.argmax(axis=1) == labels).mean())
    assert rows["serving"]["difference"] < 1e-6
    assert rows["int8"]["agreement"] > 0.9
    assert "holds one model" in rows["keras"]["why"]


def test_kind_is_whole_or_not_there(tmp_path):
    folder = ExportFolder(str(tmp_path / "export"))
    folder.prepare()
    for content in ("old", "new"):
        with folder.replacing("saved_model") as path:
            Path(path).mkdir()
            Path(path, "model").write_text(content)
    with pytest.raises(OSError, match="full"), folder.replacing("saved_model") as path:
        Path(path).mkdir()
        Path(path, "model").write_text("half")
        raise OSError(errno.ENOSPC, "full")
    assert (tmp_path / "export" / "saved_model" / "model").read_text() == "new"
    (tmp_path / "export" / "aside-model.tflite").write_text("half")
    (tmp_path / "export" / "saved_model").rename(tmp_path / "export" / "aside-older-saved_model")
    folder.prepare()  # as after a kill between the two renames
    assert (tmp_path / "export" / "saved_model" / "model").read_text() == "new"
    assert [path.name for path in (tmp_path / "export").iterdir()] == ["saved_model"]


@pytest.mark.parametrize(("stored", "channels"), [(1, "rgb"), (3, "rgb"), (3, "grey")])
def test_model_json_names_stored_channels(stored, channels):
    """Of a model that takes grey images as three channels, colour files must become grey first."""
    about_model = pytest.importorskip("hpcdl.trainer.export.about").about_model
    served = pytest.importorskip("hpcdl.trainer.export.served")
    shape = (8, 8, 3 if channels == "rgb" else 1)

    about = about_model("name", 1, ["run"], served.Intake(shape, stored, True), ["a", "b"])

    assert (about["stored_channels"], about["channels"]) == (stored, channels)


def test_facts_of_folder_follow_its_files(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(bytes(1000))
    (tmp_path / "y").write_bytes(b"abc")

    facts = facts_of(str(tmp_path))
    (tmp_path / "y").write_bytes(b"abd")

    assert facts["bytes"] == 1003
    assert facts["gzip"] < 100
    assert facts_of(str(tmp_path))["sha256"] != facts["sha256"]


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (["tflit"], "export[0] is 'tflit'; expected one of serving, "),
        (["fp16"], "did you mean float16?"),
        (["SavedModel"], "did you mean saved_model?"),
        (["int8", "tflite", "int8"], "export[2] is 'int8'; expected each kind once"),
        ("int8", "export is 'int8'; expected List[str]"),
    ],
)
def test_wrong_kinds_are_named(spec, kinds, message):
    problems = [str(problem) for problem in spec_problems(replace(spec, export=kinds))]

    assert len(problems) == 1
    assert message in problems[0]


def test_lacking_operation_is_read_from_message():
    """The message is TensorFlow 2.21's, shortened."""
    lite = pytest.importorskip("hpcdl.trainer.export.lite")
    message = """Could not translate MLIR to FlatBuffer.<unknown>:0: error: loc(fused["BesselI0e:"]): 'tf.BesselI0e' op is neither a custom op nor a flex op
<unknown>:0: note: loc(fused["PartitionedCall:", "PartitionedCall"]): called from
"""

    assert lite.reason(message) == "TensorFlow Lite does not have the operation BesselI0e"
    assert lite.reason("odd\nmore") == "TensorFlow Lite cannot convert the model: odd"
