"""Asks an image's own Python for versions, modules and names. Answers go to the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hpcdl import cache, image
from hpcdl.container import Places
from hpcdl.container import argv as argv_of
from hpcdl.errors import ContainerError, UserError
from hpcdl.in_image.names import ROOTS, TF_KERAS, why_broken
from hpcdl.planning import Plan

LEGACY_KERAS = "TF_USE_LEGACY_KERAS"  # the variable by which TensorFlow chooses its Keras
_CACHE = "images.json"
_MAX_IMAGES = 100  # in the cache
_MAX_ANSWERS = 1000  # for the programs, the modules and the names of an image
_CACHE_VERSION = 3
_PARTS = ("programs", "modules", "names")  # of a question, and of the answers in the cache


@dataclass(frozen=True)
class Question:
    """What to ask an image, in addition to its versions.

    Args:
        programs: Python programs to compile, by file name.
        modules: modules to look for: ``google.colab``, or ``google:colab`` if colab may also be a
            name in the module google.
        names: dotted names to look for in the image's packages: ``tensorflow.keras.Model``.
    """

    programs: Mapping[str, str] = field(default_factory=dict)
    modules: Collection[str] = ()
    names: Collection[str] = ()


@dataclass(frozen=True)
class Package:
    """A package that is installed in an image.

    Args:
        version: its version; "" if importing it fails.
        file: the file that it is imported from; "" if it has none, or if importing it fails.
        failure: why importing it fails; "" if it does not.
    """

    version: str
    file: str = ""
    failure: str = ""


@dataclass(frozen=True)
class ImageFacts:
    """What an image's Python answered.

    Args:
        python: the version of Python.
        architecture: the processor, in uname's words.
        packages: those of numpy, tensorflow, keras and `TF_KERAS` that are installed.
        broken: why programs do not compile, by file name; only those that do not.
        missing: the modules that the image does not have.
        absent: for names that do not exist, the first part that does not.
    """

    python: str
    architecture: str
    packages: dict[str, Package]
    broken: dict[str, str]
    missing: frozenset[str]
    absent: dict[str, str]

    def version(self, package: str) -> str:
        """The version of a package; "" if it is not installed, or if importing it fails."""
        return self.packages[package].version if package in self.packages else ""


def ask(plan: Plan, module_lines: list[str], question: Question) -> ImageFacts:
    """Ask the image's Python.

    An image is asked for its versions and public names once. Later questions are answered from the
    cache, or by the image's Python without TensorFlow. Only names of TensorFlow, Keras or numpy
    that are not public make it import these packages again.

    Args:
        plan: its image is asked, with its binds and variables, as the job would see it.
        module_lines: the batch script's lines that load modules.
        question: what to ask.

    Raises:
        ContainerError: the container command is not on this machine, or it fails.
        HpcdlError: the image cannot be asked on this machine.
    """
    try:
        image.check_sif(Path(plan.require_container().image))
    except UserError as error:
        raise ContainerError("the image cannot be asked") from error
    plan = _as_here(plan)
    key = _image_key(plan)
    answers = _cached_images().get(key, {})
    programs = {_program_key(name, text): [name, text] for name, text in question.programs.items()}
    if answers:
        _compile_here(answers, programs)
    open_question = {
        "versions": not answers,
        "programs": _without(programs, answers.get("programs", {})),
        "modules": list(_without(dict.fromkeys(question.modules), _modules(answers))),
        "names": list(_without(dict.fromkeys(question.names), _names(answers, question.names))),
    }
    if any(open_question.values()):
        answers = _merged(answers, _ask(plan, module_lines, open_question))
        _store(key, answers)
    return _facts(answers, programs, question)


def _facts(
    answers: dict[str, Any], programs: dict[str, list[str]], question: Question
) -> ImageFacts:
    """The facts for one question, from all answers of an image."""
    packages = {}
    for name in (*ROOTS, TF_KERAS):
        if answers[name] is not None:
            version, detail = answers[name]
            packages[name] = Package(version, detail) if version else Package("", failure=detail)
    broken = {}
    for key, (file, _) in programs.items():
        if answers["programs"][key]:
            broken[file] = answers["programs"][key]
    is_missing = _modules(answers)
    missing = frozenset(name for name in question.modules if is_missing.get(name))
    absent = {}
    for name, part in _names(answers, question.names).items():
        if part:
            absent[name] = part
    return ImageFacts(answers["python"], answers["architecture"], packages, broken, missing, absent)


def _without(items: dict[str, Any], answered: Collection[str]) -> dict[str, Any]:
    """The items that have no answer yet."""
    return {name: value for name, value in items.items() if name not in answered}


def _program_key(name: str, source: str) -> str:
    return hashlib.sha256(f"{name}\0{source}".encode(errors="replace")).hexdigest()


def _compile_here(answers: dict[str, Any], programs: dict[str, list[str]]) -> None:
    """Compile programs with this Python, if the image has the same version."""
    if answers["python"].split(".")[:2] != platform.python_version().split(".")[:2]:
        return
    for key, program in programs.items():
        if key not in answers["programs"]:
            answers["programs"][key] = why_broken(*program)


def _modules(answers: dict[str, Any]) -> dict[str, bool]:
    """Whether modules are missing, for all modules with an answer."""
    return {**dict.fromkeys(answers.get("tops", []), False), **answers.get("modules", {})}


def _names(answers: dict[str, Any], names: Iterable[str]) -> dict[str, str]:
    """The first absent part of each of some names that have an answer."""
    if not answers:
        return {}
    nodes = _tree(answers)
    absent = {}
    for name in names:
        if name in answers["names"]:
            absent[name] = answers["names"][name]
        elif _is_public(name, nodes):
            absent[name] = ""
    return absent


def _is_public(name: str, nodes: list[dict[str, int]]) -> bool:
    """Whether a name is in the tree of public names."""
    node = 0
    for word in name.split("."):
        if node < 0 or word not in nodes[node]:
            return False
        node = nodes[node][word]
    return True


def _tree(answers: dict[str, Any]) -> list[dict[str, int]]:
    """The public names of an image. They have a file of their own because they are many."""
    nodes: list[dict[str, int]] = cache.load(_tree_file(answers["tree"])).get("nodes", [{}])
    return nodes


def _tree_file(digest: str) -> str:
    return f"names-{digest}.json"


def _merged(answers: dict[str, Any], new_answers: dict[str, Any]) -> dict[str, Any]:
    """An image's answers with new ones."""
    if "tree" in new_answers:
        tree = {"nodes": new_answers["tree"]}
        text = json.dumps(tree, separators=(",", ":"))
        new_answers["tree"] = hashlib.sha256(text.encode()).hexdigest()[:16]
        cache.store(_tree_file(new_answers["tree"]), tree)
    merged = {**answers, **new_answers}
    for part in _PARTS:
        merged[part] = {**answers.get(part, {}), **new_answers[part]}
    return merged


def _cached_images() -> dict[str, Any]:
    """The answers in the user's cache, by image, without those that another version wrote."""
    images = {}
    for key, answers in cache.load(_CACHE).items():
        if isinstance(answers, dict) and isinstance(answers.get("time"), (int, float)):
            images[key] = answers
    return images


def _store(key: str, answers: dict[str, Any]) -> None:
    """Put an image's answers into the cache. The oldest ones leave it."""
    newest_answers = {**answers, "time": time.time()}
    for part in _PARTS:
        newest_answers[part] = dict(list(answers[part].items())[-_MAX_ANSWERS:])
    images = {**_cached_images(), key: newest_answers}
    newest_keys = sorted(images, key=lambda name: -images[name]["time"])[:_MAX_IMAGES]
    cache.store(_CACHE, {key: images[key] for key in newest_keys})


def is_known(plan: Plan) -> bool:
    """Whether the cache has the image's versions. Then `ask` answers at once."""
    try:
        return _image_key(_as_here(plan)) in _cached_images()
    except OSError:
        return True  # the image does not exist


def _as_here(plan: Plan) -> Plan:
    """The plan with those binds and folders that this machine has. Other checks report the rest."""
    container = plan.require_container()
    binds = [bind for bind in container.binds if Path(bind.split(":")[0]).exists()]
    folders = [folder for folder in plan.environment.pythonpath if Path(folder).is_dir()]
    overlay = container.overlay
    if overlay and not Path(overlay).exists():
        overlay = None
    shown = container.shown if folders else []  # the script's data do not matter here
    container = replace(
        container, nv=False, binds=binds, overlay=overlay, requirements=[], shown=shown
    )
    environment = replace(plan.environment, pythonpath=folders)
    return replace(plan, container=container, environment=environment)


def _image_key(plan: Plan) -> str:
    """What identifies an image and all that its Python's answers depend on."""
    container, environment = plan.require_container(), plan.environment
    stat = os.stat(container.image)
    parts: list[Any] = [_CACHE_VERSION, os.path.realpath(container.image), container.python]
    parts += [environment.env.get("PYTHONPATH"), environment.env.get(LEGACY_KERAS)]
    parts += [container.binds, environment.pythonpath, container.overlay, container.shown]
    return json.dumps([*parts, stat.st_size, stat.st_mtime_ns])


def _ask(plan: Plan, module_lines: list[str], question: dict[str, Any]) -> dict[str, Any]:
    """Start the image's Python with a question, and return its answer."""
    container = plan.require_container()
    with tempfile.TemporaryDirectory(prefix="hpcdl-") as tmp:
        home = "/tmp"  # noqa: S108 - the container's own
        places = Places(workdir="/", home=home, stop_file="/tmp/stop", tmp=tmp)  # noqa: S108
        argv = argv_of(plan, places, image.python_program(container.python, "names"))
        asked = f"{container.python} in {container.image}"
        return image.ask(argv, asked, question, module_lines)
