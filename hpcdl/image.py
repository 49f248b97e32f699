"""An image: what its own Python answers, and whether a file is an image at all."""

from __future__ import annotations

import json
import os
import shutil
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcdl import in_image
from hpcdl.cache import cached_sha256
from hpcdl.container import isolated
from hpcdl.errors import ContainerError, UserError
from hpcdl.image_address import not_a_file
from hpcdl.modules import last_line, run_in_container

# At byte 32 of a SIF file's header, after the launch line (github.com/apptainer/sif)
_MAGIC = b"SIF_MAGIC"
_ANSWER = "hpcdl:"  # how the line with an answer begins


@dataclass(frozen=True)
class ImageVersions:
    """What ``hpcdl image inspect`` tells of an image; None for what the image does not have."""

    path: str
    bytes: int
    sha256: str
    python: str
    architecture: str
    tensorflow: str | None
    keras: str | None
    numpy: str | None
    cuda: str | None
    cudnn: str | None


def inspect_image(sif: str, python: str = "python", runtime: str | None = None) -> ImageVersions:
    """The versions inside an image.

    Args:
        sif: path of the image file.
        python: the image's Python command.
        runtime: the container command; by default apptainer, else singularity.

    Raises:
        UserError: this is not an image file.
        ContainerError: the container command is not here, or fails.
        HpcdlError: the image's Python did not answer in time.
    """
    path = Path(sif)
    check_sif(path)
    command = runtime or shutil.which("apptainer") or shutil.which("singularity")
    if command is None or shutil.which(command) is None:
        names = runtime or "apptainer or singularity"
        raise ContainerError(f"there is no {names} command here; perhaps: module load singularity")
    with tempfile.TemporaryDirectory(prefix="hpcdl-") as tmp:
        start = isolated(command, str(path), tmp)
        argv = [*start, *python_program(python, "versions")]
        # The user asks, not a job: the shell's settings of Apptainer count
        versions = ask(argv, f"{python} in {sif}", env=dict(os.environ))
    size, sha256 = path.stat().st_size, cached_sha256(path)
    return ImageVersions(str(path.absolute()), size, sha256, **versions)


def python_program(python: str, name: str) -> list[str]:
    """The words that start a program of `hpcdl.in_image`.

    Its text is sent: an image sees no file of this machine.

    Args:
        python: the image's Python command.
        name: the program's, such as "versions".
    """
    return [python, "-c", Path(in_image.__file__).with_name(f"{name}.py").read_text("utf-8")]


def ask(
    argv: Sequence[str],
    asked: str,
    question: Any = None,
    module_lines: Sequence[str] = (),
    env: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Start a program of `hpcdl.in_image` in a container, and return its answer.

    Args:
        argv: all words, from the container command to those of `python_program`.
        asked: who is asked, for messages: ``python in tensorflow.sif``.
        question: what the program reads, as JSON.
        module_lines: the lines that load the site's modules.
        env: variables besides those that a job inherits.

    Raises:
        ContainerError: the container command is not here, or fails.
        HpcdlError: a module cannot be loaded, or there is no answer in time.
    """
    done = run_in_container(argv[0], module_lines, argv, json.dumps(question), env)
    answer = None
    for line in done.stdout.splitlines():
        answer = read_answer(line) or answer
    if done.returncode or answer is None:
        reason = last_line(done.stderr) or "no words"
        raise ContainerError(f"{asked} failed (exit {done.returncode}): {reason}")
    return answer


def read_answer(line: str) -> dict[str, Any] | None:
    """The answer in a line of a program's output; None for any other line."""
    if not line.startswith(_ANSWER):
        return None
    answer: dict[str, Any] = json.loads(line.removeprefix(_ANSWER))
    return answer


def where_to_pull(architecture: str) -> str:
    """The address of an image with TensorFlow that finds the GPUs of machines with this processor.

    TensorFlow's own are for x86_64 alone, and from 2.18 on they find no GPU. The sources are in
    containers/tensorflow-gpu.def and containers/tensorflow-ngc.def.
    """
    if architecture in ("aarch64", "arm64"):
        return "docker://nvcr.io/nvidia/tensorflow:25.02-tf2-py3"
    return "docker://tensorflow/tensorflow:2.17.0-gpu"


def check_sif(path: Path) -> None:
    """Make sure that a file is a SIF image.

    Raises:
        UserError: it does not exist, cannot be read, or is something else.
    """
    if path.is_dir():
        raise UserError(
            f"{path} is a folder, which Apptainer calls a sandbox; hpcdl runs images of one file, "
            f"whose content it can name: make one of it, apptainer build {path.name}.sif {path}"
        )
    address = not_a_file(str(path))
    if address:
        raise UserError(address)
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
    except OSError as error:
        raise UserError(f"cannot read the image {path}: {error.strerror}") from error
    if _MAGIC not in head:
        begins = head[:20].decode("ascii", "replace")
        raise UserError(
            f"{path} is not a SIF image (it begins with {begins!r}); pull or build it again"
        )


def size_in_header(head: bytes) -> int | None:
    """Where the data of a SIF file end, in bytes; None for another file.

    Source: the global header in https://github.com/apptainer/sif/blob/main/pkg/sif/sif.go

    Args:
        head: the first 128 bytes.
    """
    if len(head) < 128 or _MAGIC not in head:
        return None
    offset, size = struct.unpack_from("<qq", head, 112)
    return int(offset) + int(size)
