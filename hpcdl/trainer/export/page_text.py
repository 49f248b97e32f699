"""The text of the page that holds a model: its template, styles and programs from `web/`."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import zlib
from typing import Any, Dict, Tuple

from hpcdl.trainer.export.page_letters import from_letters, in_letters
from hpcdl.trainer.export.page_weights import deflated, restored

_WEB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "web")
_ENGINE = (
    "model.js",
    "convolution.js",
    "operations.js",
    "images.js",
    "worker.js",
)  # runs next to the page
_SCRIPT = ("letters.js", "drawing.js", "page.js")


def operations() -> Dict[int, str]:
    """The operations that the page's program has: their names by number in BuiltinOperator."""
    lines = re.findall(r"^  (\d+) /\* (\w+) \*/:", _read("operations.js"), re.MULTILINE)
    return {int(number): name for number, name in lines}


def engine() -> bytes:
    """The program that runs the model."""
    return _code(_ENGINE).encode()


def page_text(stored: bytes, extra: bytes, about: Dict[str, Any], facts: Dict[str, Any]) -> str:
    """The whole page.

    Args:
        stored: the model, deflated; see `page_weights.Rounded`.
        extra: the engine and the samples.
        about: the content of model.json.
        facts: what the page's script reads, besides shape and class names.
    """
    script, style = _code(_SCRIPT), _slim(_read("page.css"))
    facts = {"shape": about["shape"], "classes": about["class_names"], **facts}
    parts = {
        "SCRIPT_HASHES": _hashes(script),
        "STYLE_HASHES": _hashes(style),
        "NAME": html.escape(about["name"]),
        "ABOUT": html.escape(_test_in_words(about)),
        "MADE": html.escape(_origin_in_words(about)),
        "STYLE": style,
        "SCRIPT": script,
        "STORED": in_letters(stored),
        "EXTRA": in_letters(deflated(extra)),
        # Nothing in it can end the script element
        "FACTS": json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c"),
    }
    return re.sub(r"@\{(\w+)\}@", lambda slot: parts[slot[1]], _slim(_read("page.html")))


def _test_in_words(about: Dict[str, Any]) -> str:
    height, width, channels = about["shape"]
    kind = "grey" if channels == 1 else "colour"
    words = "It tells apart {:,} classes of {} images of {} × {} pixels".format(
        len(about["class_names"]), kind, width, height
    )
    if about.get("test"):
        words += "; {:.1%} of its answers to {:,} test images were right".format(
            about["test"]["accuracy"], about["test"]["rows"]
        )
    return words + "."


def _origin_in_words(about: Dict[str, Any]) -> str:
    runs = ", ".join(about["runs"])
    return "Trained and exported by hpcdl {} in run {}.".format(about["hpcdl"], runs)


def _code(names: Tuple[str, ...]) -> str:
    return "".join(_slim(_read(name)) + "\n" for name in names)


def _read(name: str) -> str:
    with open(os.path.join(_WEB, name), encoding="utf-8") as file:
        return file.read()


def _slim(text: str) -> str:
    """Without indentation, and without lines that are comments."""
    lines = [line.strip() for line in text.splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def _hashes(text: str) -> str:
    """What a policy allows: the text's hash, which is of UTF-8, and of what the file holds.

    WebKit has taken the file's encoding; https://www.w3.org/TR/CSP3/#match-element-to-source-list
    """
    hashes = []
    for encoded in (text.encode(), text.encode("utf-16-le")):
        digest = base64.b64encode(hashlib.sha256(encoded).digest()).decode()
        hashes.append("'sha256-{}'".format(digest))
    return " ".join(hashes)


def model_in(text: str) -> bytes:
    """The .tflite file in a page, with its rounded weights: what the page runs."""
    facts = json.loads(_element(text, "facts"))
    content = zlib.decompress(from_letters(_element(text, "stored")), -zlib.MAX_WBITS)
    return restored(content, facts["fileBytes"], facts["layers"])


def _element(text: str, name: str) -> str:
    return text.partition('id="{}">'.format(name))[2].partition("</script>")[0]
