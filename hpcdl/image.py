"""What is inside an image: versions, asked of the image's own Python, and its hash."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hpcdl.cache import cached_sha256
from hpcdl.container import isolated
from hpcdl.errors import ContainerError, UserError
from hpcdl.image_address import not_a_file

_MAGIC = b"SIF_MAGIC"  # at byte 32 of a SIF file's header, after the launch line (github.com/apptainer/sif)
_ASK = """
import json, platform, sys
facts = {"python": platform.python_version(), "architecture": platform.machine()}
for name in ("tensorflow", "keras", "numpy"):
    try:
        facts[name] = __import__(name).__version__
    except ImportError:
        facts[name] = None
if facts["tensorflow"]:
    import tensorflow as tf
    built = tf.sysconfig.get_build_info()
    try:
        package = __import__(tf.keras.Model.__module__.partition(".")[0])  # tf_keras, where that is asked for
        facts["keras"] = getattr(tf.keras, "__version__", None) or package.__version__
    except ImportError:  # the image's TF_USE_LEGACY_KERAS asks for tf_keras, which it has not
        facts["keras"] = None
    facts["cuda"], facts["cudnn"] = built.get("cuda_version"), built.get("cudnn_version")
print("hpcdl:" + json.dumps(facts))
"""


def inspect_image(
    sif: str, python: str = "python", runtime: str | None = None, timeout_s: int = 300
) -> dict[str, Any]:
    """The versions inside an image.

    Args:
        sif: path of the image file.
        python: the image's Python command.
        runtime: the container command; by default apptainer, else singularity.
        timeout_s: how long the image's Python may take (importing TensorFlow takes seconds).

    Returns:
        path, size in bytes, sha256, python, architecture, tensorflow, keras, numpy, cuda, cudnn;
        None for what it has not.

    Raises:
        UserError: this is not an image file.
        ContainerError: the container command is not here, or fails.
    """
    path = Path(sif)
    check_sif(path)
    command = runtime or shutil.which("apptainer") or shutil.which("singularity")
    if command is None or shutil.which(command) is None:
        raise ContainerError(
            f"there is no {runtime or 'apptainer or singularity'} command here; perhaps: module load singularity"
        )
    try:
        with tempfile.TemporaryDirectory(prefix="hpcdl-") as tmp:
            argv = [*isolated(command, str(path), tmp), python, "-c", _ASK]
            answer = subprocess.run(
                argv, capture_output=True, timeout=timeout_s, check=False,
                encoding="utf-8", errors="replace",
            )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ContainerError(f"{sif}: its Python did not answer in {timeout_s} s") from error
    lines = [line for line in answer.stdout.splitlines() if line.startswith("hpcdl:")]
    if answer.returncode or not lines:
        words = answer.stderr.strip().splitlines()
        raise ContainerError(
            f"{sif}: {python} failed in it (exit {answer.returncode}): {words[-1] if words else 'no words'}"
        )
    facts = {
        "tensorflow": None,
        "keras": None,
        "numpy": None,
        "cuda": None,
        "cudnn": None,
        **json.loads(lines[-1][6:]),
    }
    order = ("python", "architecture", "tensorflow", "keras", "numpy", "cuda", "cudnn")
    return {
        "path": str(path.absolute()),
        "bytes": path.stat().st_size,
        "sha256": cached_sha256(path),
        **{name: facts[name] for name in order},
    }


def where_to_pull(architecture: str) -> str:
    """The address of an image with TensorFlow that finds the GPUs of machines with this processor.

    TensorFlow's own are for x86_64 alone, and from 2.18 on they find no GPU: the sources are in
    containers/tensorflow-gpu.def and containers/tensorflow-ngc.def.
    """
    if architecture in ("aarch64", "arm64"):
        return "docker://nvcr.io/nvidia/tensorflow:25.02-tf2-py3"
    return "docker://tensorflow/tensorflow:2.17.0-gpu"


def check_sif(path: Path) -> None:
    """See that a file is a SIF image.

    Raises:
        UserError: it is not there, cannot be read, or is something else.
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
    """Where a SIF file's data end, in bytes, by its first 128; None where these are no SIF file's.

    Source: the global header in https://github.com/apptainer/sif/blob/main/pkg/sif/sif.go
    """
    return (
        sum(struct.unpack_from("<qq", head, 112)) if len(head) >= 128 and _MAGIC in head else None
    )
