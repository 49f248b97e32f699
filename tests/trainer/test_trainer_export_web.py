"""LiteRT.js runs what a run exports, in a real Chromium."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from tests.browser import browser

__all__ = ["browser"]
PACKAGES = ("@litertjs/core@2.5.3", "@litertjs/wasm-utils@2.5.3")
MOST = {"model.tflite": 1e-5, "model.float16.tflite": 0.01, "model.int8.tflite": 0.1}
on_host = pytest.mark.parametrize("trainer_command", ["host"], indirect=True, scope="session")
PAGE = """<!doctype html>
<script type="importmap">{"imports": {
  "@litertjs/core": "./node_modules/@litertjs/core/dist/index.js",
  "@litertjs/wasm-utils": "./node_modules/@litertjs/wasm-utils/dist/index.js"
}}</script>
<script type="module">
import {loadLiteRt, loadAndCompile, Tensor} from "@litertjs/core";

async function answers(file, images) {
  const model = await loadAndCompile(file, {accelerator: "wasm"});
  const takesPixels = model.getInputDetails()[0].dtype === "uint8";
  const rows = [];
  for (const image of images) {
    const pixels = takesPixels ? Uint8Array.from(image) : Float32Array.from(image, x => x / 255);
    const tensor = new Tensor(pixels, [1, 10, 10, 1]);
    const [result] = await model.run(tensor);
    rows.push(Array.from(result.toTypedArray()));
    tensor.delete();
    result.delete();
  }
  return rows;
}

try {
  await loadLiteRt("./node_modules/@litertjs/core/wasm/");
  const images = await (await fetch("images.json")).json();
  const all = {};
  for (const file of FILES) all[file] = await answers(file, images);
  document.title = JSON.stringify(all);
} catch (error) {
  document.title = JSON.stringify({error: String(error)});
}
</script>
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with LiteRT.js, and its address on a server of this machine."""
    folder = tmp_path_factory.mktemp("site")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm: apt-get install npm")
    argv = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
    done = subprocess.run([*argv, *PACKAGES], capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"LiteRT.js cannot be installed here: {done.stderr.strip()[-200:]}")
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}/page.html"
        server.shutdown()


@on_host
@pytest.mark.tensorflow
def test_litert_js_answers_as_model_does(exported, site, browser):
    folder, address = site
    for file in MOST:
        shutil.copy(exported.path / "export" / file, folder)
    with np.load(exported.path / "data.npz") as data:
        images = data["x_test"][:30].reshape(30, -1).tolist()
    with np.load(exported.path / "predictions.npz") as file:
        trained = file["probabilities"][:30]
    (folder / "images.json").write_text(json.dumps(images))
    (folder / "page.html").write_text(PAGE.replace("FILES", json.dumps(list(MOST))))

    browser.ask("Page.navigate", url=address)
    until = time.monotonic() + 120
    while not (answer := browser.value("document.title")).startswith("{"):
        assert time.monotonic() < until, browser.complaints()
        time.sleep(0.2)

    answers = json.loads(answer)
    assert set(answers) == set(MOST), answers
    for name, most in MOST.items():
        assert abs(np.array(answers[name]) - trained).max() < most
