"""What reads the images and answers: TensorFlow, or without it the exported models and Pillow."""

from __future__ import annotations

import platform
from functools import partial
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from hpcdl.contract.predict_spec import PredictSpec
from hpcdl.contract.spec import DeviceSpec
from hpcdl.contract.version import __version__
from hpcdl.trainer.predict.tryout import try_out
from hpcdl.trainer.runtime.log import quiet_import, say

_WHEELS = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel")


class Engine(NamedTuple):
    """What a prediction works with.

    name: ``litert`` or ``tensorflow``; for result.json.
    stream: the images; see `hpcdl.trainer.predict.stream`.
    models: from uint8 images to probabilities.
    devices: for result.json.
    versions: of what computes, by name; for result.json.
    """

    name: str
    stream: Any
    models: Any
    devices: Dict[str, Any]
    versions: Dict[str, str]


def choose_engine(spec: PredictSpec, names: List[str]) -> Engine:
    """LiteRT on the CPU where all models were exported for it, and it runs; else TensorFlow.

    Args:
        spec: the prediction.
        names: of the files.

    Raises:
        DeviceError, UserCodeError, InternalError: see `hpcdl.contract.errors`.
    """
    return _litert(spec, names) or _tensorflow(spec, names)


def _litert(spec: PredictSpec, names: List[str]) -> Optional[Engine]:
    """The exported models, if they can be run here and Pillow decodes as TensorFlow does."""
    exported = all(member.lite for member in spec.members)
    if spec.gpus or not exported or spec.members[0].shape[2] not in (1, 3):
        return None
    why_not, models = _lite_models(spec)
    if why_not:
        say("TensorFlow predicts, not the exported model alone: {}".format(why_not))
        return None
    from hpcdl.trainer.dataset import pillow
    from hpcdl.trainer.predict.pillow_stream import PillowStream

    versions = {
        "hpcdl": __version__,
        "python": platform.python_version(),
        "tensorflow": _tensorflow_version(),
        "numpy": str(np.__version__),
        "pillow": pillow.version(),
    }
    say("LiteRT of tensorflow {tensorflow}  pillow {pillow}  numpy {numpy}".format(**versions))
    devices = {"strategy": "default", "replicas": 1, "names": ["CPU:0"], "emulated": False}
    stream = PillowStream(spec.folder, names, tuple(spec.members[0].shape), spec.block_images)
    return Engine("litert", stream, models, devices, versions)


def _lite_models(spec: PredictSpec) -> Tuple[str, Any]:
    """Why the exported models cannot be used here, or an empty text and the models.

    Their library is not one that TensorFlow promises to keep: another version's may crash.
    """
    try:
        from hpcdl.trainer.dataset import pillow
        from hpcdl.trainer.predict.lite import LiteModels

        if not pillow.is_alike():
            return "Pillow decodes images in another way", None
        why_not = try_out(partial(LiteModels, spec))
        if why_not:
            return "its try-out failed: {}".format(why_not), None
        return "", LiteModels(spec)
    except Exception as error:  # whatever it is, TensorFlow does without them
        return "{}: {}".format(type(error).__name__, " ".join(str(error).split())), None


def _tensorflow(spec: PredictSpec, names: List[str]) -> Engine:
    with quiet_import():
        from hpcdl.trainer.predict.members import Ensemble
        from hpcdl.trainer.predict.stream import Stream
        from hpcdl.trainer.result import versions
        from hpcdl.trainer.runtime.devices import choose_devices
    of_this_image = versions()
    say("tensorflow {tensorflow}  keras {keras}  numpy {numpy}".format(**of_this_image))
    chosen = choose_devices(DeviceSpec(gpus=spec.gpus, emulate=spec.emulate_gpus))
    say("devices: {}".format(", ".join(chosen.names)))
    devices = {
        "strategy": chosen.strategy_name,
        "replicas": chosen.replicas,
        "names": chosen.names,
        "emulated": chosen.emulated,
    }
    stream = Stream(spec.folder, names, tuple(spec.members[0].shape), spec.block_images)
    return Engine("tensorflow", stream, Ensemble(spec), devices, of_this_image)


def _tensorflow_version() -> str:
    """The version of TensorFlow by its wheel, without importing it."""
    from importlib import metadata

    for name in _WHEELS:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "of this image"
