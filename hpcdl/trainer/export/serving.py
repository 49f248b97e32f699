"""A folder for TensorFlow Serving: ``<name>/<version>/`` with a warm-up, and models.config."""

from __future__ import annotations

import os
import shutil
from typing import Any, Dict

import numpy as np
import tensorflow as tf

from hpcdl.contract.wire_format import field
from hpcdl.trainer.export.served import Served

WARM_UP = "tf_serving_warmup_requests"
_EXTRA = "assets.extra"  # files that TensorFlow carries along and does not read
_ROWS = 2  # images of a request of the warm-up


def save_model(served: Served, path: str, about: str) -> None:
    """Save models as a SavedModel with hpcdl's signatures.

    Args:
        served: the models.
        path: a folder to make.
        about: the path of model.json, which goes along.
    """
    tf.saved_model.save(served, path, signatures=served.signatures())
    extra = os.path.join(path, _EXTRA)
    os.makedirs(extra, exist_ok=True)
    shutil.copyfile(about, os.path.join(extra, os.path.basename(about)))


def save_for_serving(
    served: Served, path: str, name: str, version: int, about: str, images: Any
) -> None:
    """Make the folder that a server takes as its models.

    The warm-up and models.config are as
    https://www.tensorflow.org/tfx/serving/saved_model_warmup and
    https://www.tensorflow.org/tfx/serving/serving_config say.

    Args:
        served: the models.
        path: a folder to make.
        name: the model's name on the server.
        version: a positive int64, larger for newer models.
        about: the path of model.json, which goes along.
        images: uint8 images for the warm-up, at least one.
    """
    target = os.path.join(path, name, str(version))
    save_model(served, target, about)
    images = np.asarray(images[:_ROWS])
    with tf.io.TFRecordWriter(os.path.join(target, _EXTRA, WARM_UP)) as writer:
        if served.intake.decodes:
            files = np.array([tf.io.encode_png(image).numpy() for image in images], object)
            writer.write(_request(name, "serving_default", {"image_bytes": files}))
        writer.write(_request(name, "pixels", {"images": images}))
    with open(os.path.join(path, "models.config"), "w", encoding="utf-8") as file:
        file.write(models_config(name, version))


def models_config(name: str, version: int) -> str:
    """The server's list of models: this one, with its version named ``stable``.

    The format is protobuf's text format of ModelServerConfig.
    """
    return """\
# tensorflow_model_server --model_config_file=/models/models.config
#   --allow_version_labels_for_unavailable_models
# in a container that sees this folder as /models. For a canary, put the newer version's folder
# next to this one, add "versions: NUMBER" and a label "canary" for it.
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
    model_version_policy {{
      specific {{
        versions: {version}
      }}
    }}
    version_labels {{
      key: "stable"
      value: {version}
    }}
  }}
}}
""".format(name=name, version=version)


def _request(name: str, signature: str, inputs: Dict[str, Any]) -> bytes:
    """A record of a warm-up: PredictionLog.predict_log.request, a PredictRequest.

    The numbers of the fields are those of tensorflow_serving/apis: prediction_log.proto,
    predict.proto and model.proto. The images have no package with these.
    """
    spec = field(1, name.encode("utf-8")) + field(3, signature.encode("utf-8"))
    request = field(1, spec)
    for key, array in inputs.items():
        tensor = tf.make_tensor_proto(array).SerializeToString()
        request += field(2, field(1, key.encode("utf-8")) + field(2, tensor))
    return field(6, field(1, request))
