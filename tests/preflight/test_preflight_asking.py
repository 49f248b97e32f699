"""The image is asked for all that it has once; later scripts do not wait for TensorFlow again."""

from __future__ import annotations

import sys

import pytest

pytestmark = pytest.mark.cases("F24")


@pytest.fixture
def asked(world):
    """Counts how often the container starts, and how often TensorFlow is imported there."""
    starts, imports = world.folder / "starts", world.folder / "imports"
    runtime = (world.bin / "container").read_text()
    world.command("container", runtime.replace("#!/bin/sh\n", f"#!/bin/sh\necho >>{starts}\n"))
    count = f"open({str(imports)!r}, 'a').write('x')\n"
    names = "class keras:\n    class layers:\n        Dense = Conv2D = Model = 1\n"
    world.stub(tensorflow=f"__version__ = '2.21.0'\n{count}{names}data = 1\n")

    def times():
        return (len(starts.read_text().split("\n")) - 1, len(imports.read_text()))

    return times


PROGRAMS = [
    "import json\nimport tensorflow as tf\ntf.data\n",
    "import csv, sklearn\nimport tensorflow as tf\ntf.keras\n",
    "import re\nimport numpy\nprint(1)\n",
]


def test_other_scripts_start_nothing(world, asked):
    """Other imports, names and programs are answered from what is remembered."""
    for program in PROGRAMS:
        world.write("program.py", program)
        assert world.check("script.yaml", only="script").findings == []

    assert asked() == (1, 1)


def test_unknown_module_needs_no_tensorflow(world, asked):
    """A module that is not there is looked for once, without TensorFlow."""
    world.check("script.yaml", only="script")
    world.write("program.py", "import pandas_\n")
    for _ in range(2):
        report = world.check("script.yaml", only="script")
        assert [one.cause for _, one in report.findings] == [
            "program.py imports pandas_, which the image does not have"
        ]

    assert asked() == (2, 1)


def test_unknown_name_imports_tensorflow_once(world, asked):
    """Only a name that is not among the public ones makes it import TensorFlow again, once."""
    world.check("script.yaml", only="script")
    world.write("program.py", "import tensorflow as tf\ntf.no_such\n")
    for _ in range(2):
        assert len(world.check("script.yaml", only="script").findings) == 1

    assert asked() == (2, 2)


def test_another_python_compiles_there(world, asked):
    """Where the image has another Python, a new program is compiled by that, without TensorFlow."""
    fake = world.folder / "python"
    text = f"#!{sys.executable}\nimport sys, platform\nplatform.python_version = lambda: '3.8.1'\n"
    fake.write_text(f"{text}code = sys.argv[2]\nexec(compile(code, '-c', 'exec'))\n")
    fake.chmod(0o755)
    profile = (world.folder / "site.yaml").read_text()
    world.write("site.yaml", profile.replace(sys.executable, str(fake)))
    for program in ("x = 1\n", "x = 2\n", "x = 2\n"):
        world.write("program.py", program)
        assert world.check("script.yaml", only="script").findings == []

    assert asked() == (2, 1)
