"""The table of kinds: how each is made of trained models, and how it is asked for its answers."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shutil
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

import numpy as np
import tensorflow as tf

from hpcdl.trainer import compat
from hpcdl.trainer.export import lite, serving
from hpcdl.trainer.export.errors import NotExported
from hpcdl.trainer.export.lite_client import Converter
from hpcdl.trainer.export.measure import Answer, TestImages
from hpcdl.trainer.export.members import Member
from hpcdl.trainer.export.page_kind import make_page, page_model
from hpcdl.trainer.export.served import Served

_ROOM_BYTES = 1 << 20  # what a file of HDF5 takes besides the weights, at most
_ONNX_OPSET = 15  # the newest that tf2onnx has for TensorFlow 2.11


@dataclass
class Subject:
    """What is exported.

    members: the trained models.
    served: their mean as a graph.
    in_float32: the same of models that compute in float32, for programs that have no float16.
    converter: makes TensorFlow Lite of it.
    name: the model's, for a server.
    version: likewise; see `serving.save_for_serving`.
    about: the path of model.json.
    representative: uint8 images of the train part; at least one.
    test: images, and what the trained models said of them; None: not known.
    """

    members: List[Member]
    served: Served
    in_float32: Served
    converter: Converter
    name: str
    version: int
    about: str
    representative: Any
    test: Optional[TestImages] = None

    def only_member(self, kind: str) -> Member:
        """The one model, for a kind that holds a model as Keras saves it.

        Raises:
            NotExported: there are several, or the weights alone were saved.
        """
        if len(self.members) > 1:
            message = "{} holds one model; the mean of several is exported as saved_model"
            raise NotExported(message.format(kind))
        if not self.members[0].is_whole:
            raise NotExported("Keras cannot save this model as a whole, its weights alone")
        return self.members[0]


class Runner(NamedTuple):
    """An exported model that answers.

    answer: takes images.
    batch_rows: images in a call; None for any number.
    threads: that a call takes; 0 for those that TensorFlow chooses.
    """

    answer: Answer
    batch_rows: Optional[int]
    threads: int


class Kind(NamedTuple):
    """How a kind is made at a path, and run from there.

    run gives None where this image cannot run it: nothing is measured then.
    """

    make: Callable[[Subject, str], None]
    run: Callable[[str, Subject], Optional[Runner]]


# Graphs of TensorFlow's


def _make_saved_model(subject: Subject, path: str) -> None:
    serving.save_model(subject.served, path, subject.about)


def _make_serving(subject: Subject, path: str) -> None:
    images = subject.representative
    serving.save_for_serving(
        subject.served, path, subject.name, subject.version, subject.about, images
    )


def _run_saved_model(path: str, subject: Subject) -> Runner:
    """The signature of pixels: images of arrays in [0, 1] are rounded to grey levels."""
    loaded = tf.saved_model.load(path)
    pixels = loaded.signatures["pixels"]

    def answer(images: Any) -> Any:
        levels = np.rint(images * 255).astype(np.uint8)
        return pixels(images=tf.constant(levels))["probabilities"].numpy()

    answer.loaded = loaded  # type: ignore[attr-defined]  # it holds the variables
    return Runner(answer, None, 0)


def _run_serving(path: str, subject: Subject) -> Runner:
    return _run_saved_model(os.path.join(path, subject.name, str(subject.version)), subject)


# TensorFlow Lite


def _make_lite(kind: str) -> Callable[[Subject, str], None]:
    def make(subject: Subject, path: str) -> None:
        subject.converter.convert(kind, path)

    return make


def _run_lite(path: str, subject: Subject) -> Runner:
    model = lite.LiteModel(path)
    return Runner(lambda images: model(images[0])[None], 1, 1)


# The page


def _make_page(subject: Subject, path: str) -> None:
    if subject.test is None:
        raise NotExported("a page shows test images; there are none with known answers")
    subject.converter.convert("tflite", path)
    with open(path, "rb") as file:
        content = file.read()
    make_page(content, subject.about, subject.test, subject.representative, path)


def _run_page(path: str, subject: Subject) -> Runner:
    model = page_model(path)
    return Runner(lambda images: model(images[0])[None], 1, 1)


# Keras's own files


def _make_keras(subject: Subject, path: str) -> None:
    member = subject.only_member("keras")
    if not member.file.endswith(".keras"):
        version = compat.keras_version()
        raise NotExported("Keras {} saves HDF5 under every name: ask for h5".format(version))
    shutil.copyfile(member.file, path)


def _make_h5(subject: Subject, path: str) -> None:
    member = subject.only_member("h5")
    if member.file.endswith(".h5"):
        shutil.copyfile(member.file, path)
        return
    _require_room(path, 2 * os.path.getsize(member.file) + _ROOM_BYTES)
    try:
        with _quiet_keras():
            member.read().save(path)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        first_line = str(error).strip().partition("\n")[0]
        raise NotExported("Keras cannot write HDF5: {}".format(first_line)) from error


def _require_room(path: str, room_bytes: int) -> None:
    """Raise an `OSError` if a file of that size cannot be written: h5py crashes on a full disk."""
    try:
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, room_bytes)
    finally:
        os.remove(path)


@contextlib.contextmanager
def _quiet_keras() -> Iterator[None]:
    """Without Keras's advice to save in its newer format."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _run_keras(path: str, subject: Subject) -> Runner:
    member = subject.members[0]._replace(file=path)
    model, top = member.read(), np.float32(member.largest)
    call = tf.function(lambda images: model(images, training=False))

    def answer(images: Any) -> Any:
        outputs = tf.cast(call(tf.constant(images * top)), tf.float32)
        return (tf.nn.softmax(outputs) if member.gives_logits else outputs).numpy()

    return Runner(answer, None, 0)


# ONNX


def _make_onnx(subject: Subject, path: str) -> None:
    try:
        tf2onnx = importlib.import_module("tf2onnx")
    except ImportError as error:
        message = "tf2onnx cannot be imported ({}): name it in a requirements file (packages:)"
        raise NotExported(message.format(error)) from error
    images = tf.TensorSpec([None, *subject.served.intake.shape], tf.float32, "images")
    function = tf.function(subject.in_float32.probabilities, input_signature=[images])
    try:
        tf2onnx.convert.from_function(function, [images], opset=_ONNX_OPSET, output_path=path)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        first_line = str(error).strip().partition("\n")[0]
        message = "tf2onnx cannot convert the model: {}: {}"
        raise NotExported(message.format(type(error).__name__, first_line)) from error


def _run_onnx(path: str, subject: Subject) -> Optional[Runner]:
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError:
        return None
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return Runner(lambda images: session.run(None, {name: images})[0], None, 1)


KINDS: Dict[str, Kind] = {
    "serving": Kind(_make_serving, _run_serving),
    "saved_model": Kind(_make_saved_model, _run_saved_model),
    "tflite": Kind(_make_lite("tflite"), _run_lite),
    "dynamic": Kind(_make_lite("dynamic"), _run_lite),
    "float16": Kind(_make_lite("float16"), _run_lite),
    "int8": Kind(_make_lite("int8"), _run_lite),
    "int16x8": Kind(_make_lite("int16x8"), _run_lite),
    "keras": Kind(_make_keras, _run_keras),
    "h5": Kind(_make_h5, _run_keras),
    "onnx": Kind(_make_onnx, _run_onnx),
    "page": Kind(_make_page, _run_page),
}
LITE = tuple(kind for kind, entry in KINDS.items() if entry.run in (_run_lite, _run_page))
# Kinds that hold models as Keras saves them; all others are graphs of probabilities
OF_KERAS = ("keras", "h5")
# Kinds whose programs run elsewhere: the time of a call here is not theirs
TIMED_ELSEWHERE = ("page",)
