"""The container image is whole, fits the nodes, and has the TensorFlow that the job needs."""

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
from hpcdl.in_image.names import TF_KERAS
from hpcdl.mounts.binds import parse
from hpcdl.planning import Plan
from hpcdl.preflight import Finding, Note, Subject
from hpcdl.preflight.ask_image import ImageFacts, Package, ask
from hpcdl.preflight.exports import export_findings
from hpcdl.preflight.question import question_for
from hpcdl.preflight.site_rules import nodes_of
from hpcdl.preflight.sources import sources_of
from hpcdl.preflight.usedkeras import plan_to_ask, tf_keras

OLDEST_TENSORFLOW, OLDEST_PYTHON = (2, 11), (3, 8)
_NEEDED = ("numpy", "tensorflow")  # by a job that trains a model
_HEADER_BYTES = 128
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
    """The image is whole and built for the nodes, and its Python has what the job needs."""
    plan = subject.plan
    nodes = nodes_architectures(subject)
    finding = _file_finding(plan, min(nodes, default=platform.machine()))
    if finding:
        yield finding
        return
    image_file = plan.require_container().image
    architecture = _architecture(Path(image_file))
    if architecture and nodes and architecture not in nodes:
        cause = f"{image_file} is for {architecture}, but the nodes are {_joined(nodes)}"
        yield _finding(cause, "use an image that was built for these nodes")
        return
    if architecture not in ("", platform.machine()):
        message = f"{image_file} is for {architecture}, and this machine cannot look into it"
        raise ContainerError(message)
    yield from _inside(subject)


def image_here(subject: Subject) -> Iterator[Finding | Note]:
    """The same for a run on this machine, where the nodes' architecture does not matter."""
    finding = _file_finding(subject.plan, platform.machine())
    if finding:
        yield finding
        return
    yield from _inside(subject)


def _file_finding(plan: Plan, architecture: str) -> Finding | None:
    """What is wrong with the image file.

    Args:
        plan: the plan; its image is looked at.
        architecture: of the nodes, for advice which image to pull.
    """
    container = plan.require_container()
    path = Path(container.image)
    if path.is_dir() or not_a_file(str(path)):
        try:
            check_sif(path)
        except UserError as error:
            cause, _, fix = str(error).rpartition(": ")
            return _finding(cause, fix)
    if not path.exists():
        fix = "see hpcdl cluster show, or pull one on a machine with internet"
        return _finding(f"there is no image {path}", f"{fix}; jobs run a local .sif file only")
    try:
        check_sif(path)
    except UserError as error:
        pull = f"pull it again: {container.runtime} pull {path.name} {where_to_pull(architecture)}"
        return _not_sif(path, str(error), pull)
    size = path.stat().st_size
    whole_size = size_in_header(_header(path)) or _HEADER_BYTES
    if size < whole_size:
        cause = f"{path} is cut short: it has {size:,} bytes, and its header says {whole_size:,}"
        return _finding(cause, "copy or pull it again, to a disk with enough space")
    return None


def _not_sif(path: Path, message: str, pull: str) -> Finding:
    """The finding for a file that is not a SIF image."""
    page = re.match(rb"\s*<(!doctype|html|\?xml)", _header(path), re.IGNORECASE)
    if page:
        begin = page[0].decode()
        cause = f"{path} is not a SIF file: it is a web page (it begins with {begin!r})"
        return _finding(cause, pull)
    if not os.access(path, os.R_OK):
        return _finding(message, "see its permissions: ls -lL; an image is one .sif file")
    return _finding(message, pull)


def _header(path: Path) -> bytes:
    """The first bytes of a file; nothing if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(_HEADER_BYTES)
    except OSError:
        return b""


def _architecture(path: Path) -> str:
    """The processor that an image is for; "" if its header does not say it."""
    return _ARCHITECTURES.get(_header(path)[45:47], "")


def nodes_architectures(subject: Subject) -> set[str]:
    """The architectures of the nodes that the job may get, by the profile if SLURM does not say."""
    in_profile: set[str] = set()
    if subject.cluster.architecture:
        in_profile.add(subject.cluster.architecture)
    try:
        nodes = nodes_of(subject)
    except SchedulerError:
        return in_profile  # the checks of the limits report why
    architectures = {node.architecture for node in nodes if node.architecture}
    if in_profile and in_profile <= architectures:
        return in_profile
    return architectures or in_profile


def _inside(subject: Subject) -> Iterator[Finding | Note]:
    """What the image's own Python answers. The check "host Python" reports modules that fail."""
    plan = subject.plan
    container = plan.require_container()
    sources = sources_of(subject)
    try:
        # The script's questions are asked now, too. So the container starts once.
        facts = ask(plan_to_ask(plan, sources), subject.module_lines, question_for(subject))
    except ContainerError as error:
        if not _has_no_command(str(error), container.python):
            raise
        fix = "say its name in the profile: images: {NAME: {path: ..., python: python3}}"
        yield _finding(f"{container.image} has no command {container.python}", fix)
        return
    trains = subject.spec is not None
    if trains and _version(facts.python) < OLDEST_PYTHON:
        cause = f"its Python is {facts.python}; expected 3.8 or newer"
        yield _finding(cause, "use a newer image")
    for name in ("tensorflow", "keras", "numpy"):
        yield from _package_findings(plan, name, facts.packages.get(name), trains)
    yield from tf_keras(subject, sources, facts)
    yield from export_findings(subject, facts)
    if facts.version("tensorflow"):
        yield _versions_note(facts)


def _has_no_command(message: str, command: str) -> bool:
    """Whether an error of the container says that it has no such command."""
    plain = message.replace("‘", "'").replace("’", "'")
    return "No such file" in plain and f"'{command}'" in plain


def _package_findings(
    plan: Plan, name: str, package: Package | None, trains: bool
) -> Iterator[Finding]:
    """What is wrong with one package of the image.

    Args:
        plan: the plan.
        name: the package's name.
        package: what the image has; None if it is not installed.
        trains: whether the job trains a model.
    """
    needed = trains and name in _NEEDED
    image_file = plan.require_container().image
    if package is None:
        if needed:
            fix = "use an image with TensorFlow 2.11 or newer"
            yield _finding(f"{image_file} has no {name}", fix)
    elif package.failure or not package.version:
        cause = f"importing {name} fails in {image_file}: {package.failure}"
        yield _finding(cause, "use another image", needed)
    elif _outside(package.file, plan):
        places = "pythonpath, PYTHONPATH under env, and the profile's binds"
        cause = f"{name} {package.version} is imported from {package.file}, outside the image"
        yield _finding(cause, f"it must come from the image: look at {places}")
    elif name == "tensorflow" and needed and _version(package.version) < OLDEST_TENSORFLOW:
        fix = "use a newer image; a script job runs with any version"
        yield _finding(f"its TensorFlow is {package.version}; models need 2.11 or newer", fix)


def _versions_note(facts: ImageFacts) -> Note:
    versions = [f"TensorFlow {facts.version('tensorflow')}"]
    if facts.version(TF_KERAS):
        versions.append(f"Keras {facts.version(TF_KERAS)}")
    return Note(", ".join([*versions, f"Python {facts.python}"]))


def _outside(file: str, plan: Plan) -> bool:
    """Whether a file that the container sees is not one of the image."""
    folders = {os.path.expanduser("~"), PACKAGES, *plan.environment.pythonpath}
    folders |= {parse(bind).target for bind in plan.require_container().binds}
    return any(Path(file).is_relative_to(folder) for folder in folders - {"", "/"})


def _version(text: str) -> tuple[int, ...]:
    """Major and minor version."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def _joined(names: set[str]) -> str:
    return " and ".join(sorted(names))


def _finding(cause: str, fix: str, blocks: bool = True) -> Finding:
    return Finding(cause, fix, "job", "container", blocks)
