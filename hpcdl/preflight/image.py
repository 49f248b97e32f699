"""The container image: there, whole, for these nodes, and with the TensorFlow that the job needs."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

from hpcdl.container import PACKAGES
from hpcdl.errors import ContainerError, SchedulerError, UserError
from hpcdl.image import check_sif, size_in_header, where_to_pull
from hpcdl.image_address import not_a_file
from hpcdl.planning import Plan
from hpcdl.preflight import Finding, Note, Subject
from hpcdl.preflight.ask_image import ask
from hpcdl.preflight.limits import nodes_for
from hpcdl.preflight.looking import TF_KERAS
from hpcdl.preflight.script import question
from hpcdl.preflight.sources import sources_of
from hpcdl.preflight.usedkeras import plan_to_ask, tf_keras

OLDEST_TENSORFLOW, OLDEST_PYTHON = (2, 11), (3, 8)
# https://github.com/apptainer/sif/blob/main/pkg/sif/arch.go, by uname's words
_ARCHITECTURES = {
    b"01": "i386",
    b"02": "x86_64",
    b"03": "arm",
    b"04": "aarch64",
    b"06": "ppc64le",
    b"11": "s390x",
}


def image(subject: Subject) -> Iterator[Finding | Note]:
    """The image is there, whole, of the nodes' architecture, and its Python has what the job needs."""
    decided = subject.submission.plan
    nodes = nodes_architectures(subject)
    found = list(_file(decided, min(nodes, default=platform.machine())))
    if not found:
        architecture = _architecture(Path(decided.image or ""))
        if architecture and nodes and architecture not in nodes:
            wrong = f"{decided.image} is for {architecture}, but the nodes are {' and '.join(sorted(nodes))}"
            found.append(_finding(wrong, "use an image that was built for these nodes"))
        elif architecture not in ("", platform.machine()):
            raise ContainerError(
                f"{decided.image} is for {architecture}, and this machine cannot look into it"
            )
    yield from found
    if not found:
        yield from _inside(subject)


def image_here(subject: Subject) -> Iterator[Finding | Note]:
    """The same for a run on this machine, where no node's architecture counts."""
    found = list(_file(subject.submission.plan, platform.machine()))
    yield from found
    if not found:
        yield from _inside(subject)


def _file(decided: Plan, architecture: str) -> Iterator[Finding]:
    path = Path(decided.image or "")
    pull = f"{decided.runtime} pull {path.name}"
    if path.is_dir() or not_a_file(str(path)):
        try:
            check_sif(path)
        except UserError as error:
            cause, _, fix = str(error).rpartition(": ")
            yield _finding(cause, fix)
            return
    if not path.exists():
        fix = "see hpcdl cluster show, or pull one on a machine with internet; jobs run a local .sif file only"
        yield _finding(f"there is no image {path}", fix)
        return
    try:
        check_sif(path)
    except UserError as error:
        fix = f"pull it again: {pull} {where_to_pull(architecture)}"
        page = re.match(rb"\s*<(!doctype|html|\?xml)", _begin(path), re.IGNORECASE)
        if page:
            yield _finding(
                f"{path} is not a SIF file: it is a web page (it begins with {page[0].decode()!r})",
                fix,
            )
        elif not os.access(path, os.R_OK):
            yield _finding(str(error), "see its permissions: ls -lL; an image is one .sif file")
        else:
            yield _finding(str(error), fix)
        return
    size, whole = path.stat().st_size, size_in_header(_begin(path)) or 128
    if size < whole:
        wrong = f"{path} is cut short: it has {size:,} bytes, and its header says {whole:,}"
        yield _finding(wrong, "copy or pull it again, where there is space for it")


def _begin(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(128)
    except OSError:
        return b""


def _architecture(path: Path) -> str:
    return _ARCHITECTURES.get(_begin(path)[45:47], "")


def nodes_architectures(subject: Subject) -> set[str]:
    """The architectures of the nodes that the job may get; the profile's where SLURM does not say."""
    of_profile = {subject.cluster.architecture} if subject.cluster.architecture else set()
    try:
        nodes = nodes_for(subject.site, subject.cluster.partition)
    except SchedulerError:
        return of_profile  # the checks of the limits say why
    architectures = {node.architecture for node in nodes if node.architecture}
    if of_profile and of_profile <= architectures:
        return of_profile
    return architectures or of_profile


def _inside(subject: Subject) -> Iterator[Finding | Note]:
    """What the image's own Python says; of modules that cannot be loaded, the host Python's check tells."""
    decided = subject.submission.plan
    try:
        # The script's questions go with it: one start of the container, and the script's check has its answer.
        sources = sources_of(subject)
        facts = ask(plan_to_ask(decided, sources), subject.module_lines, *question(subject))
    except ContainerError as error:
        if "No such file" in str(error) and f"'{decided.python}'" in str(error).replace(
            "‘", "'"
        ).replace("’", "'"):
            fix = "say its name in the profile: images: {NAME: {path: ..., python: python3}}"
            yield _finding(f"{decided.image} has no command {decided.python}", fix)
            return
        raise
    if subject.submission.spec is None:
        needed: tuple[str, ...] = ()
    else:
        needed = ("numpy", "tensorflow")
        if _version(facts["python"]) < OLDEST_PYTHON:
            yield _finding(
                f"its Python is {facts['python']}; expected 3.8 or newer", "use a newer image"
            )
    for name in ("tensorflow", "keras", "numpy"):
        if facts[name] is None:
            if name in needed:
                yield _finding(
                    f"{decided.image} has no {name}", "use an image with TensorFlow 2.11 or newer"
                )
            continue
        version, where = facts[name]
        if not version:
            blocks = name in needed
            yield _finding(
                f"importing {name} fails in {decided.image}: {where}", "use another image", blocks
            )
        elif _outside(where, decided):
            fix = "it must come from the image: look at pythonpath, PYTHONPATH under env, and the profile's binds"
            yield _finding(f"{name} {version} is imported from {where}, outside the image", fix)
        elif name == "tensorflow" and name in needed and _version(version) < OLDEST_TENSORFLOW:
            fix = "use a newer image; a script job runs with any version"
            yield _finding(f"its TensorFlow is {version}; models need 2.11 or newer", fix)
    yield from tf_keras(subject, sources, facts)
    if facts["tensorflow"] and facts["tensorflow"][0]:
        versions = [f"TensorFlow {facts['tensorflow'][0]}", f"Python {facts['python']}"]
        if facts[TF_KERAS] and facts[TF_KERAS][0]:
            versions.insert(1, f"Keras {facts[TF_KERAS][0]}")
        yield Note(", ".join(versions))


def _outside(where: str, decided: Plan) -> bool:
    folders = [os.path.expanduser("~"), PACKAGES, *decided.pythonpath]
    folders += [(bind.split(":") * 2)[1] for bind in decided.binds]
    return any(Path(where).is_relative_to(folder) for folder in folders if folder not in ("", "/"))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def _finding(cause: str, fix: str, blocks: bool = True) -> Finding:
    return Finding(cause, fix, "job", "container", blocks)
