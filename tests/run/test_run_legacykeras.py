"""What to try after a run that found no tf-keras, from what programs really say."""

from __future__ import annotations

import pytest

from hpcdl.run.legacykeras import tf_keras_hint

NO_KERAS = [
    "    raise ImportError(",
    "ImportError: Keras cannot be imported. Check that it is installed.",
]
NO_PACKAGE = ["ModuleNotFoundError: No module named 'tf_keras'"]
INSTALL = "name tf-keras, of TensorFlow's own version, in a requirements file (packages:)"

pytestmark = pytest.mark.cases("fault 1")


@pytest.mark.parametrize("lines", [NO_KERAS, NO_PACKAGE])
def test_hint_names_variable_of_job(lines):
    assert (
        tf_keras_hint(lines, {"TF_USE_LEGACY_KERAS": "1"})
        == f"{INSTALL}, or take TF_USE_LEGACY_KERAS out of env"
    )


def test_own_import_and_variable_set_elsewhere():
    assert tf_keras_hint(NO_PACKAGE, {}) == INSTALL
    hint = tf_keras_hint(NO_KERAS, {})
    assert hint is not None
    assert hint.startswith(INSTALL)
    assert "take TF_USE_LEGACY_KERAS out if the script or the image sets it" in hint


def test_other_endings_have_no_keras_hint():
    assert (
        tf_keras_hint(
            ["ModuleNotFoundError: No module named 'keras_cv'"], {"TF_USE_LEGACY_KERAS": "1"}
        )
        is None
    )
