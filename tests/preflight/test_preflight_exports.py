"""What a job exports its model as, held against what its image has."""

from types import SimpleNamespace
from typing import Any

import pytest

from hpcdl.preflight.ask_image import ImageFacts, Package
from hpcdl.preflight.exports import export_findings, modules_of_exports


@pytest.mark.parametrize(
    ("kinds", "tensorflow", "missing", "causes"),
    [
        (["tflite", "onnx"], "2.21.0", {"tf2onnx"}, ["export: onnx needs tf2onnx"]),
        (["onnx", "keras"], "2.21.0", set(), []),
        (["keras", "h5"], "2.11.1", set(), ["TensorFlow 2.11.1 writes no .keras files"]),
        (["serving"], "2.11.1", {"tf2onnx"}, []),
    ],
)
def test_kind_that_image_lacks_is_told(kinds, tensorflow, missing, causes):
    job, plan = SimpleNamespace(export=kinds), SimpleNamespace(container=None)
    subject: Any = SimpleNamespace(job=job, plan=plan)
    packages = {"tensorflow": Package(tensorflow)}
    facts = ImageFacts("3.11.2", "x86_64", packages, {}, frozenset(missing), {})

    findings = list(export_findings(subject, facts))

    assert [finding.cause.partition(",")[0] for finding in findings] == causes
    assert ("tf2onnx" in modules_of_exports(subject)) == ("onnx" in kinds)


def test_onnx_of_old_image_has_its_versions():
    job, plan = SimpleNamespace(export=["onnx"]), SimpleNamespace(container=None)
    subject: Any = SimpleNamespace(job=job, plan=plan)
    for tensorflow, name in (("2.11.1", "name tf2onnx==1.14.0 and"), ("2.21.0", "name tf2onnx in")):
        packages = {"tensorflow": Package(tensorflow)}
        facts = ImageFacts("3.9.2", "x86_64", packages, {}, frozenset({"tf2onnx"}), {})

        (finding,) = export_findings(subject, facts)

        assert name in finding.fix
