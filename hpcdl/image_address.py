"""Addresses of images, such as docker://tensorflow/tensorflow, where a file's path is expected."""

from __future__ import annotations

import re

_ADDRESS = re.compile(
    r"(docker|docker-daemon|docker-archive|oci|oci-archive|oras|library|shub|https?):/+(.*)"
)


def not_a_file(text: str) -> str | None:
    """The message for an address, even if it was made a path; None for any other text."""
    if re.match(r"instance:/+", text):
        name = re.sub(r"instance:/+", "", text)
        return (
            f"instance://{name} is a container that runs already, and jobs run a local file: "
            f"name the image of instance start {name}"
        )
    address = _ADDRESS.fullmatch(text)
    if address is None:
        return None
    whole = f"{address[1]}://{address[2]}"
    return (
        f"{whole} is an address, and jobs run a local file: "
        f"pull it once, apptainer pull NAME.sif {whole}"
    )
