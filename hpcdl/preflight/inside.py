"""Asks the image's own Python: its versions, and whether a script compiles and finds what it imports. Remembered."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcdl.asjob import last_line, run_in_container
from hpcdl.container import Places, command
from hpcdl.errors import ContainerError, UserError
from hpcdl.files import cache_folder, read_json, write_json
from hpcdl.image import check_sif
from hpcdl.planning import Plan

_KEPT = 100  # answers that are remembered
_PROGRAM = """
import importlib, importlib.util, json, platform, sys
asked, told = json.load(sys.stdin), {}
if asked["versions"]:
    told = {"python": platform.python_version(), "architecture": platform.machine()}
    for name in ("numpy", "tensorflow", "keras"):
        try:
            module = __import__(name)
            told[name] = [getattr(module, "__version__", "?"), getattr(module, "__file__", None) or ""]
        except ImportError as error:
            told[name] = None if getattr(error, "name", None) == name else ["", str(error)]
        except Exception as error:
            told[name] = ["", "%s: %s" % (type(error).__name__, error)]
told["broken"] = {}
for name, source in asked["sources"].items():
    try:
        compile(source, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        told["broken"][name] = "line %s: %s" % (getattr(error, "lineno", "?"), getattr(error, "msg", error))
def lacks(name):
    try:
        return importlib.util.find_spec(name) is None
    except (ImportError, ValueError):
        return True
told["missing"] = [name for name in asked["imports"] if lacks(name)]
def lacking(name):
    words, found = name.split("."), None
    for end in range(1, len(words) + 1):
        try:
            found = getattr(found, words[end - 1]) if found else __import__(words[0])
        except Exception:
            try:
                found = importlib.import_module(".".join(words[:end]))
            except Exception:
                return ".".join(words[:end]) if end > 1 else ""
    return ""
told["names"] = {name: lacking(name) for name in asked["names"]}
print("hpcdl:" + json.dumps(told))
"""


def ask(
    plan: Plan,
    lines: list[str],
    sources: Mapping[str, str] | None = None,
    imports: list[str] | None = None,
    names: Collection[str] = (),
) -> Any:
    """Ask once for each image and question; importing TensorFlow takes seconds.

    Args:
        plan: whose image, binds and variables are used as in the job.
        lines: the batch script's module lines.
        sources: programs to compile, by name.
        imports: modules to look for.
        names: dotted names to look for in the modules that the image has, such as ``tensorflow.keras.Model``.

    Returns:
        ``python``, ``architecture``; ``numpy``, ``tensorflow``, ``keras``: (version, file), ("", why it fails), or
        None; ``broken``: what does not compile, and why; ``missing``: the modules that are not there; ``names``: for
        each name the first part of it that is not there, or "".

    Raises:
        ContainerError: the container command is not here, or fails.
        HpcdlError: it cannot be asked on this machine.
    """
    try:
        check_sif(Path(plan.image or ""))
    except UserError as error:
        raise ContainerError("the image cannot be asked") from error
    plan = _as_here(plan)
    image = _image_key(plan)
    question = {"sources": dict(sources or {}), "imports": sorted(imports or [])}
    key = hashlib.sha256(json.dumps([image, question], sort_keys=True).encode()).hexdigest()
    store = cache_folder() / "images.json"
    known = read_json(store) or {}
    versions, details = known.get(image), known.get(key)
    unknown = sorted(set(names) - set((versions or {}).get("names", {})))
    if versions is None or unknown or (details is None and any(question.values())):
        told = _ask(plan, lines, {"versions": versions is None, "names": unknown, **question})
        details = {name: told.pop(name) for name in ("broken", "missing")}
        versions = {**told, **(versions or {}), "names": {**(versions or {}).get("names", {}), **told["names"]}}
        known.update({image: {**versions, "time": time.time()}, key: {**details, "time": time.time()}})
        newest = sorted(known, key=lambda one: -known[one]["time"])[:_KEPT]
        with suppress(OSError):
            write_json(store, {one: known[one] for one in newest})
    return {"broken": {}, "missing": [], **versions, **(details or {})}


def is_known(plan: Plan) -> bool:
    """Whether the image was asked for its versions before: then the answer is there at once."""
    try:
        return _image_key(_as_here(plan)) in (read_json(cache_folder() / "images.json") or {})
    except OSError:
        return True  # there is no image to ask


def _as_here(plan: Plan) -> Plan:
    """The plan with what of it is on this machine; checks of their own say what is not."""
    binds = [bind for bind in plan.binds if Path(bind.split(":")[0]).exists()]
    folders = [folder for folder in plan.pythonpath if Path(folder).is_dir()]
    overlay = plan.overlay if plan.overlay and Path(plan.overlay).exists() else None
    shown = plan.shown if folders else []  # what the script's data are does not matter here
    return replace(plan, nv=False, binds=binds, pythonpath=folders, overlay=overlay, requirements=[], shown=shown)


def _image_key(plan: Plan) -> str:
    stat = os.stat(plan.image or "")
    places = [os.path.realpath(plan.image or ""), plan.python, plan.env.get("PYTHONPATH"), plan.binds]
    places += [plan.pythonpath, plan.overlay, plan.shown]
    return json.dumps([*places, stat.st_size, stat.st_mtime_ns])


def _ask(plan: Plan, lines: list[str], question: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="hpcdl-") as tmp:
        places = Places(workdir="/", home="/tmp", stop_file="/tmp/stop", tmp=tmp)  # noqa: S108 - the container's own
        argv = [word for line in command(plan, places, [plan.python, "-c", _PROGRAM]) for word in line]
        done = run_in_container(plan, lines, argv, json.dumps(question))
    answers = [line for line in done.stdout.splitlines() if line.startswith("hpcdl:")]
    if done.returncode or not answers:
        raise ContainerError(
            f"{plan.python} in {plan.image} failed (exit {done.returncode}): {last_line(done.stderr) or 'no words'}"
        )
    told: dict[str, Any] = json.loads(answers[-1][6:])
    return told
