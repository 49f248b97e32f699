"""Whether the image can make what the job exports its model as."""

from __future__ import annotations

from collections.abc import Iterator

from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.ask_image import ImageFacts
from hpcdl.preflight.packages import is_missing

_FIRST_WITH_KERAS_FILES = (2, 12)  # TensorFlow; the one before writes HDF5 under every name
# Newer ones need a newer protobuf than TensorFlow 2.11 takes
_ONNX_OF_KERAS_2 = "tf2onnx==1.14.0 and onnx==1.12.0"


def modules_of_exports(subject: Subject) -> set[str]:
    """The modules that the kinds of a job need besides TensorFlow."""
    return {"tf2onnx"} if "onnx" in subject.job.export else set()


def export_findings(subject: Subject, facts: ImageFacts) -> Iterator[Finding]:
    """The kinds that the image cannot make.

    Args:
        subject: what is checked.
        facts: what the image's Python answered, also about `modules_of_exports`.
    """
    kinds = subject.job.export
    version = facts.version("tensorflow")
    is_keras_2 = bool(version) and _two_numbers(str(version)) < _FIRST_WITH_KERAS_FILES
    if "tf2onnx" in facts.missing and "onnx" in kinds and not is_missing(subject.plan):
        cause = "export: onnx needs tf2onnx, which this image does not have"
        name = _ONNX_OF_KERAS_2 if is_keras_2 else "tf2onnx"
        fix = f"name {name} in a requirements file (packages:), or take onnx out of export"
        yield Finding(cause, fix, "job", f"export[{kinds.index('onnx')}]")
    if "keras" in kinds and is_keras_2:
        cause = f"TensorFlow {version} writes no .keras files"
        yield Finding(cause, "ask for h5", "job", f"export[{kinds.index('keras')}]")


def _two_numbers(version: str) -> tuple[int, ...]:
    numbers = []
    for part in version.split(".")[:2]:
        numbers.append(int(part) if part.isdigit() else 0)
    return tuple(numbers)
