"""A server to try a served model out: TensorFlow Serving's REST API over ``FOLDER/<name>/<version>/``.

    python rest_server.py FOLDER

It answers status, metadata and predict in row and column form, by version and by the labels of
FOLDER/models.config, and prints its address. The protocol is that of
https://www.tensorflow.org/tfx/serving/api_rest.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
    r"(?::(?P<verb>predict)|(?P<metadata>/metadata))?"
)
LABEL = re.compile(r'version_labels \{\s*key: "(?P<label>.*)"\s*value: (?P<version>\d+)')


class RefusedError(Exception):
    """A request that gets another status than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Models:
    """The served models of a folder, each loaded when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.labels = dict(LABEL.findall((folder / "models.config").read_text()))
        self.loaded: dict[Path, Any] = {}

    def versions(self, name: str) -> list[str]:
        found = [path.parent.name for path in self.folder.glob(f"{name}/*/saved_model.pb")]
        if not found:
            raise RefusedError(404, f"Servable not found for request: Latest({name})")
        return sorted(found, key=int)

    def load(self, name: str, version: str | None, label: str | None) -> tuple[str, Any]:
        versions = self.versions(name)
        asked = version or versions[-1]
        if label:
            asked = self.labels.get(label, "no such label")
        if asked not in versions:
            raise RefusedError(404, f"Servable not found for request: Specific({name}, {asked})")
        path = self.folder / name / asked
        if path not in self.loaded:
            self.loaded[path] = tf.saved_model.load(str(path))
        return asked, self.loaded[path]


def plain(value: Any) -> Any:
    """A value of JSON with its ``{"b64": ...}`` as bytes."""
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True)
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def tensor(name: str, value: Any, spec: Any) -> Any:
    """An input as its signature wants it."""
    try:
        array = np.array(plain(value), object if spec.dtype == tf.string else None)
        if spec.dtype.is_integer and array.dtype.kind not in "iu":
            raise ValueError("expected whole numbers")
        if (
            spec.dtype.is_integer
            and not spec.dtype.min <= array.min() <= array.max() <= spec.dtype.max
        ):
            raise ValueError(f"expected numbers from {spec.dtype.min} to {spec.dtype.max}")
        made = tf.constant(array.tolist() if spec.dtype == tf.string else array, spec.dtype)
        if not spec.shape.is_compatible_with(made.shape):
            raise ValueError(f"has shape {list(made.shape)}; expected {spec.shape.as_list()}")
    except (ValueError, TypeError, KeyError) as error:
        raise RefusedError(400, f"input {name}: {error}") from error
    return made


def predict(model: Any, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request for predictions."""
    signature = body.get("signature_name", "serving_default")
    if signature not in model.signatures:
        raise RefusedError(400, f"Serving signature name: {signature} not found")
    function = model.signatures[signature]
    ((name, spec),) = function.structured_input_signature[1].items()
    if ("instances" in body) == ("inputs" in body):
        raise RefusedError(400, "expected instances or inputs")
    value = body.get("inputs", body.get("instances"))
    if isinstance(value, list) and value and isinstance(value[0], dict) and name in value[0]:
        value = [row[name] for row in value]
    try:
        outputs = {
            key: array.numpy()
            for key, array in function(**{name: tensor(name, value, spec)}).items()
        }
    except tf.errors.OpError as error:
        raise RefusedError(400, error.message.partition("\n")[0]) from error
    columns = {}
    for key, array in outputs.items():
        columns[key] = array.tolist()
        if array.dtype == object:
            columns[key] = [text.decode() for text in array]
    if "inputs" in body:
        return {"outputs": columns}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return {"predictions": rows}


def handler(models: Models) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self, content: bytes | None) -> None:
            try:
                status, text = 200, self.respond(content)
            except RefusedError as error:
                status, text = error.status, {"error": str(error)}
            reply = json.dumps(text).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def respond(self, content: bytes | None) -> dict[str, Any]:
            match = PATH.fullmatch(self.path)
            if not match or bool(match["verb"]) != (content is not None):
                raise RefusedError(404, f"Malformed request: {self.command} {self.path}")
            version, model = models.load(match["name"], match["version"], match["label"])
            if content is None:
                return {"model_version_status": [{"version": version, "state": "AVAILABLE"}]}
            try:
                body = json.loads(content)
            except ValueError as error:
                raise RefusedError(400, f"JSON Parse error: {error}") from error
            return predict(model, body)

        def do_GET(self) -> None:
            self.answer(None)

        def do_POST(self) -> None:
            self.answer(self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", 0), handler(Models(Path(sys.argv[1]))))
    print(f"http://127.0.0.1:{server.server_address[1]}/v1/models/", flush=True)
    server.serve_forever()
