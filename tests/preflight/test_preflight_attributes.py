"""What a program takes from TensorFlow, Keras and numpy is seen, with its real name, and whether it must be there."""

from __future__ import annotations

import pytest

from hpcdl.preflight.api_history import history
from hpcdl.preflight.api_names import calls, names_used


@pytest.mark.parametrize(
    ("program", "names"),
    [
        (
            "import tensorflow as tf\ntf.keras.Model\n",
            {"tensorflow": (1, True), "tensorflow.keras.Model": (2, True)},
        ),
        (
            "from tensorflow.keras.optimizers import Lion\n",
            {"tensorflow.keras.optimizers.Lion": (1, True)},
        ),
        (
            "from tensorflow import keras\nclass A(keras.layers.Layer): pass\n",
            {"tensorflow.keras": (1, True), "tensorflow.keras.layers.Layer": (2, True)},
        ),
        (
            "import numpy as np\ndef f():\n    return np.float(1)\n",
            {"numpy": (1, True), "numpy.float": (3, False)},
        ),
        (
            "import numpy as np\nf = lambda: np.int\nx = np.int(1)\n",
            {"numpy": (1, True), "numpy.int": (2, True)},
        ),
        (
            "import numpy.linalg\nnumpy.linalg.norm\n",
            {"numpy.linalg": (1, True), "numpy.linalg.norm": (2, True)},
        ),
        (
            "import keras\nif __name__ == '__main__':\n    keras.ops.add(1, 2)\n",
            {"keras": (1, True), "keras.ops.add": (3, True)},
        ),
        (
            "import numpy as np\nnp.ones(3).no_such_thing\n",
            {"numpy": (1, True), "numpy.ones": (2, True)},
        ),
    ],
)
def test_used_names_are_found(program, names):
    assert names_used(program) == names


@pytest.mark.parametrize(
    "program",
    [
        "import numpy as np\nif hasattr(np, 'float'):\n    np.float\n",
        "import numpy as np\ntry:\n    np.float\nexcept AttributeError:\n    pass\n",
        "import numpy as np\nx = np.float if old else float\n",
        "import numpy as np\nnp.float = float\n",
        "import numpy as np\ndef f(np):\n    return np.float\n",
        "import numpy as np\nfor np in (1, 2):\n    np.float\n",
        "import numpi as np\nnp.float\n",
        "from .numpy import float\n",
        "from numpy import *\n",
        "this is no Python",
    ],
)
def test_guarded_names_are_not_checked(program):
    """Names behind hasattr or try, and names that are not the module's own, may be missing."""
    assert set(names_used(program)) <= {"numpy"}


def test_calls_are_found():
    program = (
        "from tensorflow.keras.applications import VGG16 as Net\nNet(weights=None)\nprint(Net)\n"
    )

    assert [(name, call.lineno, at_once) for name, call, at_once in calls(program)] == [
        ("tensorflow.keras.applications.VGG16", 2, True)
    ]


def test_history_of_names():
    assert history("tensorflow.keras.optimizers.Lion") == "it came with TensorFlow 2.13"
    assert history("numpy.float_") == "it left with numpy 2.0"
    assert history("numpy.floating") == ""
