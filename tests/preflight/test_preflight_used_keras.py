"""`hpcdl check` goes by the Keras that a program uses: TF_USE_LEGACY_KERAS, and how it is imported, say which."""

from __future__ import annotations

import pytest

from hpcdl.preflight.ask_image import ImageFacts, Package
from hpcdl.preflight.usedkeras import keras_of

pytestmark = pytest.mark.cases("fault 1")

# As TensorFlow 2.16 and newer do it, in tensorflow/python/util/lazy_loader.py
TENSORFLOW = """import os
__version__ = "2.21.0"
class Keras:
    def __getattr__(self, name):
        if os.environ.get("TF_USE_LEGACY_KERAS") in ("true", "True", "1"):
            try:
                import tf_keras as package
            except ImportError:
                raise ImportError("Keras cannot be imported. Check that it is installed.")
        else:
            import keras as package
        return getattr(package, name)
keras = Keras()
class distribute:
    MirroredStrategy = MultiWorkerMirroredStrategy = None
"""
JOB = 'name: a\nresources: {{gpus: {}, time: "01:00:00"}}\nscript: program.py\nenv: {}\n'
PROGRAM = "from tensorflow import keras\nmodel = keras.Sequential()\nmodel.save('my_model')\n"
SAVE = "program.py:3: Keras 3.15.0 does not save a model to 'my_model'"
LEGACY = '{TF_USE_LEGACY_KERAS: "1"}'
ASKS = "TF_USE_LEGACY_KERAS asks for tf-keras, which cannot be imported in"
FIX = "name tf-keras==2.21.* in a requirements file (packages:), or take TF_USE_LEGACY_KERAS out"


@pytest.fixture
def site(world):
    """An image with TensorFlow 2.21 and Keras 3.15."""
    world.stub(tensorflow=TENSORFLOW)
    return world


def causes(report):
    return [finding.cause for _, finding in report.findings]


def write(site, program=PROGRAM, env="{}", gpus=1):
    site.write("script.yaml", JOB.format(gpus, env))
    site.write("program.py", program)


def test_calls_follow_selected_keras(site):
    """TF_USE_LEGACY_KERAS and the imported package decide which Keras is checked."""
    site.stub(tf_keras="2.21.0")
    write(site)
    assert causes(site.check("script.yaml", only="script")) == [SAVE]

    write(site, env=LEGACY)
    assert causes(site.check("script.yaml", only="script")) == []
    notes = site.check("script.yaml", only="image").notes
    assert "TensorFlow 2.21.0, Keras 2.21.0, Python 3." in " ".join(notes)

    write(
        site, PROGRAM.replace("from tensorflow import", "import"), LEGACY
    )  # the package keras it stays
    assert causes(site.check("script.yaml", only="script")) == [SAVE]

    write(site, f"import os\nos.environ['TF_USE_LEGACY_KERAS'] = '1'\n{PROGRAM}")
    assert causes(site.check("script.yaml", only="script")) == []


def test_keras_variable_without_package(site):
    write(site, env=LEGACY)
    [(_, finding)] = site.check("script.yaml", only="image").findings
    assert finding.cause.startswith(f"program.py:1: {ASKS}")
    assert (finding.fix, finding.key, finding.blocks) == (FIX, "env.TF_USE_LEGACY_KERAS", True)
    assert causes(site.check("script.yaml", only="script")) == []

    report = site.check("model.yaml", 'env={TF_USE_LEGACY_KERAS: "1"}', only="image")
    assert [cause.startswith(ASKS) for cause in causes(report)] == [True]
    assert report.blocks

    write(site, f"import os\nos.environ['TF_USE_LEGACY_KERAS'] = '1'\n{PROGRAM}")
    report = site.check("script.yaml", only="image")
    assert [cause.startswith(f"program.py:3: {ASKS}") for cause in causes(report)] == [True]


def test_unreadable_keras_variable(site):
    """Which Keras it will be is not known: nothing of tf.keras is said to be missing."""
    site.stub(tf_keras="2.21.0")
    program = f"import os\n{PROGRAM}keras.no_such\n"
    write(site, program)
    lacks, saves = (
        "program.py:5: tensorflow 2.21.0 has no tensorflow.keras.no_such",
        SAVE.replace(":3", ":4"),
    )
    assert causes(site.check("script.yaml", only="script")) == [lacks, saves]
    for line in (
        "os.environ.update(TF_USE_LEGACY_KERAS='1')",
        "os.environ['TF_USE_LEGACY_KERAS'] = str(1)",
    ):
        write(site, f"import os\n{line}\n{program}")
        assert causes(site.check("script.yaml", only="script")) == []
    write(site, f"# os.environ['TF_USE_LEGACY_KERAS'] = '1'\n{program}")
    found = causes(site.check("script.yaml", only="script"))
    assert found == [lacks.replace(":5", ":6"), saves.replace(":4", ":5")]


def test_keras_variable_without_effect(site):
    write(site, env='{TF_USE_LEGACY_KERAS: "0"}')
    assert causes(site.check("script.yaml", only="image")) == []
    assert causes(site.check("script.yaml", only="script")) == [SAVE]

    write(site, "import json\n", LEGACY)  # a program without TensorFlow needs no tf-keras
    assert causes(site.check("script.yaml", only="image")) == []


FACTS = ImageFacts(
    python="3.12.3",
    architecture="x86_64",
    packages={"keras": Package("3.15.0"), "tensorflow.keras": Package("2.21.0")},
    broken={},
    missing=frozenset(),
    absent={},
)


@pytest.mark.parametrize(
    ("source", "version"),
    [
        ("import tensorflow as tf\ntf.keras.Sequential()", "2.21.0"),
        ("from keras.layers import Dense", "3.15.0"),
        ("import keras\nimport tensorflow as tf\ntf.data.Dataset", "3.15.0"),
        ("import keras\nimport tensorflow as tf\ntf.keras.Sequential()", ""),
        ("import os, tensorflow\nos.environ['TF_USE_LEGACY_KERAS'] = str(len('x'))", ""),
    ],
)
def test_keras_version_of_program(source, version):
    assert keras_of(source, FACTS) == version


@pytest.mark.cases("fault 0")
@pytest.mark.parametrize(
    ("keras", "words"),
    [
        ("2.15.0", ""),
        ("3.1.1", "does not add up the replicas' gradients"),
        ("3.3.3", "without taking their mean, and shows the metrics of the first replica alone"),
        ("3.7.0", "without taking their mean, and counts metrics wrongly"),
        ("3.9.2", "fit of Keras 3.9.2 counts metrics wrongly"),
        ("3.10.0", ""),
    ],
)
def test_fit_on_several_gpus(site, keras, words):
    site.stub(keras=keras)
    program = "import tensorflow as tf\nstrategy = tf.distribute.MirroredStrategy()\ntf.keras.Sequential()\n"
    write(site, program, gpus=2)
    report = site.check("script.yaml", only="script")
    assert [words in cause for cause in causes(report)] == [True] * bool(words)
    assert not report.blocks

    write(site, program)  # one GPU is one replica
    assert causes(site.check("script.yaml", only="script")) == []


@pytest.mark.parametrize(
    ("keras", "program", "words"),
    [
        (
            "3.15.0",
            "MultiWorkerMirroredStrategy()\nmodel.fit(1)",
            ["fit of Keras 3.15.0 does not train"],
        ),
        ("2.11.0", "MultiWorkerMirroredStrategy()\nmodel.fit(1)", []),
        ("3.15.0", "MultiWorkerMirroredStrategy()\n", []),
        ("3.15.0", "MirroredStrategy()\n", ["the job has 2 nodes, and its script names nothing"]),
    ],
)
def test_script_on_several_nodes(site, keras, program, words):
    site.stub(keras=keras)
    text = f"import tensorflow as tf\nstrategy = tf.distribute.{program}\ntf.keras.Sequential()\n"
    write(site, text)
    site.write("script.yaml", JOB.format("1, nodes: 2", "{}"))
    report = site.check("script.yaml", only="script")
    for cause, begin in zip(causes(report), words, strict=True):
        assert begin in cause
    assert not report.blocks
