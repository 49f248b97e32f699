"""What check says of a notebook: its cells and lines, not those of a file that the user does not have."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.cases("F1", "F14", "C4")

JOB = 'name: a\nresources: {gpus: 1, time: "01:00:00"}\nscript: nb.ipynb\n'


@pytest.fixture
def check(world):
    """Checks a notebook of some cells."""
    world.write("nb.yaml", JOB)

    def make(*cells):
        rows = [{"cell_type": "code", "source": cell} for cell in cells]
        world.write("nb.ipynb", json.dumps({"cells": rows, "metadata": {}, "nbformat": 4}))
        return world.check("nb.yaml", only="script")

    return make


def causes(report):
    assert not report.skipped, report.skipped
    return [finding.cause for _, finding in report.findings]


def test_good_notebook_passes(check):
    cells = [
        "%matplotlib inline\nimport json\nfrom IPython.display import display",
        "%%time\nimport tensorflow as tf\nx = tf.keras.Model",
        "files = !ls\n!nvidia-smi",
        "await main()",
        "try:\n    from google.colab import drive\nexcept ImportError:\n    pass",
        "%%writefile own.py\nA = 1",
        "import own",
    ]

    report = check(*cells)

    assert causes(report) == []
    assert report.notes[0].startswith("nb.ipynb, cell 1, line 1: %matplotlib inline is left out")


PROBLEMS = {
    "colab": (
        "x = 1\nfrom google.colab import drive",
        "line 2 imports google.colab, which the image does not have",
    ),
    "colab-files": ("from google.colab.files import upload", "line 1 imports google.colab"),
    "colab-whole": ("import google.colab as g", "line 1 imports google.colab"),
    "module": ("%%time\nimport pandas_", "line 2 imports pandas_, which the image does not have"),
    "time": ("%time import pandas_", "line 1 imports pandas_, which the image does not have"),
    "syntax": ("x = 1\nprint 'x'", "line 2 does not compile under the image's Python"),
    "syntax-magic": ("%%capture\n\nx = [", "line 3 does not compile under the image's Python"),
    "help-of-call": ("f(x)?", "line 1 does not compile"),
    "name": (
        "import tensorflow as tf\ntf.no_such()",
        "line 2: tensorflow 2.21.0 has no tensorflow.no_such",
    ),
    "magic": ("%%R\nx <- 1", "line 1: %%R is not known to hpcdl"),
    "weights": (
        "!wget http://x/y.h5",
        "line 1: wget http://x/y.h5: compute nodes have no internet",
    ),
    "run": ("%run lib/prepare.py", "line 1: %run lib/prepare.py: there is no "),
    "input": ("n = int(input('n?'))", "line 1: input() has nobody to answer it"),
    "load-data": (
        "import tensorflow as tf\n%time (a, b), c = tf.keras.datasets.mnist.load_data()",
        "line 2: mnist.load_data() reads ",
    ),
}


def places() -> list[Any]:
    """The problems; those with a part of ``google`` where TensorFlow has brought that package."""
    rows = []
    for name, values in PROBLEMS.items():
        marks = [pytest.mark.tensorflow] if name.startswith("colab") else []
        rows.append(pytest.param(*values, id=name, marks=marks))
    return rows


@pytest.mark.parametrize(("cell", "words"), places())
def test_problems_name_the_cell(check, cell, words):
    """Every finding names the cell and its line."""
    report = check("x = 1", cell)

    assert any(cause.startswith(f"nb.ipynb, cell 2, {words}") for cause in causes(report)), causes(
        report
    )
    assert len(report.findings) == 1
    assert report.findings[0][1].fix


def test_all_problems_refused_together(check):
    report = check("%one", "%%two\nx")

    assert report.blocks
    assert len(report.findings) == 2
    assert report.findings[0][1].fix == "write in Python what it does, or take it out"


def test_colab_has_its_own_remedy(check):
    report = check("from google.colab import drive\ndrive.mount('/content')")

    assert "only Colab has it" in report.findings[0][1].fix


def test_module_of_the_package_is_enough(check, world):
    """from package import name: the name may be one of the package's own."""
    package = world.folder / "stubs" / "parts"
    package.mkdir()
    (package / "__init__.py").write_text("name = 1\n")
    (package / "inner.py").write_text("")
    (world.folder / "stubs" / "space" / "sub").mkdir(parents=True)
    (world.folder / "stubs" / "space" / "sub" / "__init__.py").write_text("")

    good = check(
        "from parts import name, inner\nimport parts.inner, os.path\nfrom space import sub"
    )
    bad = check("import parts.other", "from space import nothing")

    assert causes(good) == []
    assert causes(bad) == [
        "nb.ipynb, cell 1, line 1 imports parts.other, which the image does not have",
        "nb.ipynb, cell 2, line 1 imports space.nothing, which the image does not have",
    ]


@pytest.mark.parametrize(
    ("program", "blocks"),
    [
        ("get_ipython().run_line_magic('matplotlib', 'inline')\n", True),
        ("import x_ as display\ndisplay(1)\n", None),
        ("def f():\n    display(1)\n", False),
    ],
)
def test_notebook_names_in_a_script(world, program, blocks):
    """A script made of a notebook calls what only notebooks have."""
    world.write("program.py", program)
    world.stub(x_="1")

    found = [
        one
        for _, one in world.check("script.yaml", only="script").findings
        if "notebooks" in one.cause
    ]

    assert [one.blocks for one in found] == ([] if blocks is None else [blocks])
