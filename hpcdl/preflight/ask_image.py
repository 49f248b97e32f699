"""Asks the image's own Python: its versions, and whether a script compiles and finds what it imports. Remembered."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcdl import cache
from hpcdl.container import Places, command
from hpcdl.errors import ContainerError, UserError
from hpcdl.image import check_sif
from hpcdl.modules import last_line, run_in_container
from hpcdl.planning import Plan
from hpcdl.preflight import looking

LEGACY_KERAS = "TF_USE_LEGACY_KERAS"  # the variable by which TensorFlow chooses its Keras
_CACHE = "images.json"
_KEPT = 100  # images that are remembered
_KEPT_OF_EACH = 1000  # programs, modules and names of an image
_FORM = 3  # of what is remembered
_PROGRAM = Path(looking.__file__).read_text(encoding="utf-8")


def ask(
    plan: Plan,
    lines: list[str],
    sources: Mapping[str, str] | None = None,
    imports: list[str] | None = None,
    names: Collection[str] = (),
) -> Any:
    """What the image's Python has. The image is asked for its versions and public names once.

    Later questions are answered from what is remembered, or by its Python without TensorFlow; only
    a name of TensorFlow, Keras or numpy that is not a public one makes it import them again.

    Args:
        plan: whose image, binds and variables are used as in the job.
        lines: the batch script's module lines.
        sources: programs to compile, by name.
        imports: modules to look for: ``google.colab``, or ``google:colab`` where that may also be a
            name in the module google.
        names: dotted names to look for in the modules that the image has, such as
            ``tensorflow.keras.Model``.

    Returns:
        ``python``, ``architecture``; ``numpy``, ``tensorflow``, ``keras`` and ``tensorflow.keras``:
        (version, file), ("", why it fails), or None; ``broken``: what does not compile, and why;
        ``missing``: the modules that are not there; ``names``: for each name the first part of it
        that is not there, or "".

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
    known = _remembered().get(image, {})
    programs = {_program_key(*program): list(program) for program in (sources or {}).items()}
    if known:
        _compile_here(known, programs)
    question = {
        "versions": not known,
        "programs": _unknown(programs, known.get("programs", {})),
        "modules": list(_unknown(dict.fromkeys(imports or []), _modules(known))),
        "names": list(_unknown(dict.fromkeys(names), _names(known, names))),
    }
    if any(question.values()):
        told = _ask(plan, lines, question)
        known = _joined(known, told)
        _remember(image, known)
    return _facts(known, programs, imports or [], names)


def _facts(
    known: dict[str, Any],
    programs: dict[str, list[str]],
    imports: Collection[str],
    names: Collection[str],
) -> dict[str, Any]:
    """The answer to one question, out of all that is known."""
    broken = {}
    for key, (name, _) in programs.items():
        if known["programs"][key]:
            broken[name] = known["programs"][key]
    modules = _modules(known)
    missing = [name for name in imports if modules.get(name)]
    told = ("python", "architecture", *looking.ROOTS, looking.TF_KERAS)
    versions = {name: known[name] for name in told}
    return {**versions, "broken": broken, "missing": missing, "names": _names(known, names)}


def _unknown(asked: dict[str, Any], known: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if name not in known}


def _program_key(name: str, source: str) -> str:
    return hashlib.sha256(f"{name}\0{source}".encode(errors="replace")).hexdigest()


def _compile_here(known: dict[str, Any], programs: dict[str, list[str]]) -> None:
    """Compile programs with this Python, where the image has the same version."""
    if known["python"].split(".")[:2] != platform.python_version().split(".")[:2]:
        return
    for key, program in programs.items():
        if key not in known["programs"]:
            known["programs"][key] = looking.why_broken(*program)


def _modules(known: dict[str, Any]) -> dict[str, bool]:
    """The modules that are known, and whether they are missing."""
    return {**dict.fromkeys(known.get("tops", []), False), **known.get("modules", {})}


def _names(known: dict[str, Any], names: Collection[str]) -> dict[str, str]:
    """Those of some names that are known, and what they lack."""
    if not known:
        return {}
    nodes = _tree(known)
    answers = {}
    for name in names:
        if name in known["names"]:
            answers[name] = known["names"][name]
        elif _is_public(name, nodes):
            answers[name] = ""
    return answers


def _is_public(name: str, nodes: list[dict[str, int]]) -> bool:
    node = 0
    for word in name.split("."):
        if node < 0 or word not in nodes[node]:
            return False
        node = nodes[node][word]
    return True


def _tree(known: dict[str, Any]) -> list[dict[str, int]]:
    """The public names of an image, which are in a file of their own: they are many."""
    nodes: list[dict[str, int]] = cache.load(_tree_file(known["tree"])).get("nodes", [{}])
    return nodes


def _tree_file(digest: str) -> str:
    return f"names-{digest}.json"


def _joined(known: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """What is known of an image, with an answer added to it."""
    if "tree" in told:
        tree = {"nodes": told["tree"]}
        text = json.dumps(tree, separators=(",", ":"))
        told["tree"] = hashlib.sha256(text.encode()).hexdigest()[:16]
        cache.store(_tree_file(told["tree"]), tree)
    joined = {**known, **told}
    for part in ("programs", "modules", "names"):
        joined[part] = {**known.get(part, {}), **told[part]}
    return joined


def _remembered() -> dict[str, Any]:
    """The answers in the user's cache, without those that another version wrote otherwise."""
    answers = {}
    for key, answer in cache.load(_CACHE).items():
        if isinstance(answer, dict) and isinstance(answer.get("time"), (int, float)):
            answers[key] = answer
    return answers


def _remember(image: str, known: dict[str, Any]) -> None:
    kept = {**known, "time": time.time()}
    for part in ("programs", "modules", "names"):
        kept[part] = dict(list(known[part].items())[-_KEPT_OF_EACH:])
    images = {**_remembered(), image: kept}
    newest = sorted(images, key=lambda key: -images[key]["time"])[:_KEPT]
    cache.store(_CACHE, {key: images[key] for key in newest})


def is_known(plan: Plan) -> bool:
    """Whether the image was asked for its versions before: then the answer is there at once."""
    try:
        return _image_key(_as_here(plan)) in _remembered()
    except OSError:
        return True  # there is no image to ask


def _as_here(plan: Plan) -> Plan:
    """The plan with what of it is on this machine; checks of their own say what is not."""
    binds = [bind for bind in plan.binds if Path(bind.split(":")[0]).exists()]
    folders = [folder for folder in plan.pythonpath if Path(folder).is_dir()]
    overlay = plan.overlay if plan.overlay and Path(plan.overlay).exists() else None
    shown = plan.shown if folders else []  # what the script's data are does not matter here
    return replace(
        plan,
        nv=False,
        binds=binds,
        pythonpath=folders,
        overlay=overlay,
        requirements=[],
        shown=shown,
    )


def _image_key(plan: Plan) -> str:
    stat = os.stat(plan.image or "")
    places: list[Any] = [_FORM, os.path.realpath(plan.image or ""), plan.python]
    places += [plan.env.get("PYTHONPATH"), plan.env.get(LEGACY_KERAS)]
    places += [plan.binds, plan.pythonpath, plan.overlay, plan.shown]
    return json.dumps([*places, stat.st_size, stat.st_mtime_ns])


def _ask(plan: Plan, lines: list[str], question: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="hpcdl-") as tmp:
        places = Places(workdir="/", home="/tmp", stop_file="/tmp/stop", tmp=tmp)  # noqa: S108 - the container's own
        argv = [
            word for line in command(plan, places, [plan.python, "-c", _PROGRAM]) for word in line
        ]
        done = run_in_container(plan, lines, argv, json.dumps(question))
    answers = [line for line in done.stdout.splitlines() if line.startswith("hpcdl:")]
    if done.returncode or not answers:
        raise ContainerError(
            f"{plan.python} in {plan.image} failed (exit {done.returncode}): {last_line(done.stderr) or 'no words'}"
        )
    told: dict[str, Any] = json.loads(answers[-1][6:])
    return told
