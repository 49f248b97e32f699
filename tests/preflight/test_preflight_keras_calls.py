"""Calls that the image's Keras refuses are found by their text, and scripts that run raise no alarm."""

from __future__ import annotations

import ast

import pytest

from hpcdl.preflight.api_history import history
from hpcdl.preflight.kerascalls import refused_calls

HEAD = (
    "import tensorflow as tf\nfrom tensorflow import keras\nfrom tensorflow.keras import layers\n"
)
MODEL = "model = keras.Sequential([layers.Dense(3)])\n"

# the last line of a program, what is said of it on Keras 3, the remedy, and whether it is certain
REFUSED = [
    ('model.save("my_model")', "does not save a model to 'my_model'", ".keras", True),
    ('model.save("out/1/", save_format="tf")', "does not save a model to 'out/1/'", ".keras", True),
    ('model.save("my_model.tf")', "does not save a model to 'my_model.tf'", ".keras", True),
    ('import os\nmodel.save(os.path.join(tf.d, "m"))', "to '...m'", ".keras", True),
    ('from pathlib import Path\nmodel.save(Path("a") / "m")', "to '...m'", ".keras", True),
    ('path = "m"\nmodel.save(filepath=path)', "does not save a model to 'm'", ".keras", True),
    ('keras.models.save_model(model, "m")', "does not save a model to 'm'", ".keras", True),
    ('model.save("m.keras", save_traces=False)', "save of Keras 3.15.0 takes no save_traces", "export", True),
    ('best_model.save("m")', "does not save a model to 'm'", ".keras", False),
    ('def f():\n    model.save("m")', "does not save a model to 'm'", ".keras", False),
    ('keras.models.load_model("saved/1")', "load_model of Keras 3.15.0 does not read", "TFSMLayer", True),
    ('model.save_weights("w.h5")', "save_weights of Keras 3.15.0 does not take 'w.h5'", ".weights.h5", True),
    ('model.load_weights("cp.ckpt")', "load_weights of Keras 3.15.0 does not take", ".weights.h5", True),
    ("keras.optimizers.Adam(lr=1e-3)", "Adam of Keras 3.15.0 takes no lr", "learning_rate", True),
    ("from keras.optimizers import SGD\nSGD(lr=0.1)", "SGD of Keras 3.15.0 takes no lr", "learning_rate", True),
    ("tf.optimizers.Adam", "", "", True),
    ("keras.optimizers.Adam(decay=1e-6)", "Adam of Keras 3.15.0 ignores decay", "Schedule".lower(), False),
    ("keras.optimizers.legacy.Adam()", "has no optimizers.legacy", "tf.keras.optimizers.Adam", True),
    ("model.fit_generator(gen)", "models of Keras 3.15.0 have no fit_generator", "use fit", True),
    ("net.predict_generator(gen)", "have no predict_generator", "use predict", False),
    ("net.predict_classes(x)", "have no predict_classes", "argmax", False),
    ("model.predict_proba(x)", "have no predict_proba", "use predict", True),
    ("model.fit(x, workers=4)", "fit of Keras 3.15.0 takes no workers", "PyDataset", True),
    ("my_model.fit(x, nb_epoch=4)", "fit of Keras 3.15.0 takes no nb_epoch", "epochs", False),
    (
        'keras.callbacks.ModelCheckpoint("x.h5", save_weights_only=True)',
        "ModelCheckpoint of Keras 3.15.0 does not write weights to 'x.h5'",
        ".weights.h5",
        True,
    ),
    (
        'path = "training_1/cp-{epoch:04d}.ckpt"\nkeras.callbacks.ModelCheckpoint(path, save_weights_only=True)',
        "does not write weights to 'training_1/cp-{epoch:04d}.ckpt'",
        ".weights.h5",
        True,
    ),
    ('keras.callbacks.ModelCheckpoint("best")', "does not write models to 'best'", ".keras", True),
    ('keras.callbacks.ModelCheckpoint("b.keras", period=5)', "takes no period", "save_freq", True),
    ('keras.callbacks.TensorBoard("x", write_grads=True)', "takes no write_grads", "take it out", True),
    ("layers.Dense(3, batch_input_shape=(1, 2))", "takes no batch_input_shape", "batch_shape", True),
    ('layers.Conv2D(3, 3, border_mode="same")', "takes no border_mode", "padding", True),
    ("keras.utils.to_categorical(y, dtype='int8')", "takes no dtype", "astype", True),
    ("tf.optimizers.Adam(lr=1)", "Adam of Keras 3.15.0 takes no lr", "learning_rate", True),
    ("layers.Dropout(p=0.5)", "Dropout of Keras 3.15.0 takes no p", "rate", True),
    ("layers.LSTM(3, time_major=True)", "LSTM of Keras 3.15.0 takes no time_major", "(batch, time", True),
    ("layers.Conv2D(3, 3, weights=tf.w)", "Conv2D of Keras 3.15.0 takes no weights", "set_weights", True),
    ("layers.Dense(3, batch_size=4)", "takes no batch_size", "tf.keras.Input", True),
    ("layers.BatchNormalization(mode=0)", "takes no mode", "take it out", True),
    ("layers.MaxPooling2D(2, dim_ordering='tf')", "takes no dim_ordering", "data_format", True),
    ("keras.Model(input=tf.a, outputs=tf.b)", "Model of Keras 3.15.0 takes no input", "inputs", True),
    ("keras.models.load_model('m.keras', options=tf.o)", "takes no options", "take it out", True),
    ("keras.regularizers.l2(l=0.1)", "l2 of Keras 3.15.0 takes no l", "write l2", True),
    ("keras.losses.BinaryCrossentropy(reduction='auto')", "takes no reduction auto", "sum_over", True),
    (
        "keras.losses.MeanSquaredError(reduction=tf.keras.losses.Reduction.AUTO)", "takes no reduction auto",
        "sum_over_batch_size", True,
    ),
    ("keras.callbacks.EarlyStopping(epsilon=1)", "takes no epsilon", "min_delta", True),
    ("model.compile('adam', 'mse', sample_weight_mode='temporal')", "takes no sample_weight_mode", "out", True),
    ("model.fit(x, y, samples_per_epoch=9)", "takes no samples_per_epoch", "counts batches", True),
    ("model.train_on_batch(x, y, reset_metrics=False)", "takes no reset_metrics", "reset_metrics()", True),
    ("model.to_yaml()", "models of Keras 3.15.0 have no to_yaml", "to_json", True),
    ("keras.backend.get_value(model.optimizer.lr)", "optimizers of Keras 3.15.0 have no lr", "learning_rate", False),
    ("model.optimizer.lr = 0.1", "setting lr of an optimizer changes nothing", "learning_rate", False),
    ("opt = keras.optimizers.Adam()\nopt.minimize(tf.f)", "have no minimize", "apply_gradients", False),
]  # fmt: skip
REFUSED = [row for row in REFUSED if row[1]]


@pytest.mark.cases("C35", "C36")
@pytest.mark.parametrize(
    ("line", "message", "fix", "certain"), REFUSED, ids=[row[0] for row in REFUSED]
)
def test_refused_call_is_found(line, message, fix, certain):
    """Each is found with its line, what is wrong and what to write."""
    program = HEAD + MODEL + line

    [refused] = refused_calls(program, "3.15.0")

    assert message in refused.message
    assert fix in refused.fix
    assert refused.line == len(program.splitlines())
    assert refused.certain == certain


GOOD = [
    'model.save("m.keras")',
    'model.save("m.h5")',
    'model.save("m.h5", save_format="h5")',
    'model.save("m", zipped=False)\nkeras.models.load_model("m")',
    "model.save(tf.path)",
    'model.save(f"m-{tf.x}.keras")',
    'model.save(f"m-{tf.x}")',
    'model.save("m-%d.keras" % 3)',
    'ending = ".keras"\nmodel.save("m" + ending)',
    'path = "m"\npath = path + ".keras"\nmodel.save(path)',
    'model.export("m")',
    'keras.models.load_model("m.h5")',
    'tf.saved_model.load("m")',
    'model.save_weights("m.weights.h5")',
    'model.save_weights(f"{tf.x}.h5")',
    'model.load_weights("old.h5", by_name=True)',
    "model.load_weights(tf.train.latest_checkpoint('x'))",
    "keras.optimizers.Adam(learning_rate=1e-3, weight_decay=1e-4)",
    "keras.optimizers.Adam(1e-3, decay=None)",
    "keras.optimizers.schedules.ExponentialDecay(0.1, 3, decay_rate=0.9)",
    "keras.optimizers.Adam(**tf.options)",
    "model.fit(x, y, epochs=3, callbacks=[])",
    "model.predict(x).argmax(axis=-1)",
    'keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True)',
    'keras.callbacks.ModelCheckpoint("x-{epoch}.weights.h5", save_weights_only=True)',
    "keras.callbacks.ModelCheckpoint(tf.path, save_weights_only=tf.alone)",
    "layers.Dense(3, input_shape=(3,))",
    "layers.Dense(3, input_dim=3)",
    "layers.Embedding(10, output_dim=3, input_length=4)",
    "keras.preprocessing.image.ImageDataGenerator(rescale=1 / 255)",
    "keras.utils.to_categorical(y, 10)",
    'from PIL import Image\nimg = Image.open("a")\nimg.save("b", "png")',
    'from gensim.models import Word2Vec\nmodel2 = Word2Vec(x)\nmodel2.save("word2vec")',
    "from sklearn.svm import SVC\nclassifier = SVC()\nclassifier.predict_proba(x)",
    "class Mine(keras.Model):\n    def save(self, path): pass\nmodel = Mine()\nmodel.save('m')",
    "class Mine:\n    def fit_generator(self): pass\nmy_model = Mine()\nmy_model.fit_generator()",
    'import numpy as np\nnp.save("model", x)',
    "try:\n    keras.optimizers.Adam(lr=1)\nexcept ValueError:\n    keras.optimizers.Adam(learning_rate=1)",
    "if keras.__version__ < '3':\n    model.save('m')",
    'checkpoint = tf.train.Checkpoint(model=model)\ncheckpoint.save("x/ckpt")',
    # each was tried with Keras 3.15
    "layers.Embedding(3, 3, weights=[tf.w])",
    "layers.Bidirectional(layers.LSTM(2), input_shape=(3, 4), weights=None)",
    "layers.LSTM(4, implementation=2)",
    "layers.BatchNormalization(renorm=True)",
    "layers.RandomFlip(mode='horizontal')",
    "layers.Input((2,), batch_size=3)",
    "layers.InputLayer(batch_input_shape=(1, 2))",
    "layers.Lambda(tf.f, input_shape=(3,))",
    "layers.LeakyReLU(alpha=0.1)",
    "keras.Model(inputs=tf.a, outputs=tf.b)",
    "keras.callbacks.ReduceLROnPlateau(monitor='val_acc', epsilon=1e-4)",
    "keras.losses.SparseCategoricalCrossentropy(reduction=keras.losses.Reduction.NONE)",
    "keras.losses.BinaryCrossentropy(reduction='sum_over_batch_size')",
    "model.optimizer.learning_rate.assign(0.1)\nmodel.optimizer.learning_rate = 0.1",
    "model.layers[0].get_weights()\nmodel.get_weights()\nmodel.layers[0].weights",
    "model.compile('adam', loss=['mse'], metrics={'a': 'mse'})",
    "model.fit(x, y, steps_per_epoch=2, validation_batch_size=2)",
    "import re\npattern = re.compile('a')\nlr = 3\nsettings = tf.settings\nprint(settings.lr)",
    "import torch\nfor group in optimizer.param_groups:\n    group['lr'] = 0.1",
    "class Mine(layers.Layer):\n    pass\nMine(weights=3, mode=2)",
]


@pytest.mark.cases("C35", "C36")
@pytest.mark.parametrize("lines", GOOD)
def test_good_script_is_silent(lines):
    """What Keras 3 takes, and what may well be right, is left alone."""
    ast.parse(HEAD + MODEL + lines)

    assert refused_calls(HEAD + MODEL + lines, "3.15.0") == []


@pytest.mark.cases("C35")
@pytest.mark.parametrize(
    "program", ['import torch\nmodel.save("m")\nmodel.fit_generator(x)\n', "no Python"]
)
def test_other_programs_are_silent(program):
    """A program without TensorFlow calls no Keras."""
    assert refused_calls(program, "3.15.0") == []


@pytest.mark.cases("C35", "C36")
@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ('model.save("m", save_format="tf")', []),
        ("model.fit_generator(gen)", []),
        ('keras.callbacks.ModelCheckpoint("cp.ckpt", save_weights_only=True, period=5)', []),
        ("model.predict_classes(x)", [("models of Keras 2.11.0 have no predict_classes", True)]),
        ("keras.optimizers.Adam(lr=1)", [("Adam of Keras 2.11.0 ignores lr", False)]),
        ("keras.optimizers.Adam(decay=1)", [("Adam of Keras 2.11.0 takes no decay", True)]),
        ("keras.optimizers.legacy.Adam(lr=1, decay=1)", []),
    ],
)
def test_keras_2_has_own_table(line, messages):
    """What Keras 2.11 takes or refuses differs."""
    refused = refused_calls(HEAD + MODEL + line, "2.11.0")

    assert [(one.message, one.certain) for one in refused] == messages


@pytest.mark.cases("C36")
@pytest.mark.parametrize(
    "name",
    [
        "keras.utils.np_utils.to_categorical",
        "keras.layers.core.Dense",
        "tensorflow.keras.wrappers.scikit_learn",
        "keras.preprocessing.image.ImageDataGenerator",
    ],
)
def test_moved_names_have_a_remedy(name):
    """Of a module that left, the place of what was in it is said."""
    assert "see " in history(name) or "left" in history(name)


@pytest.mark.cases("C35")
def test_check_reports_call_with_line(world):
    """The check of the script has the finding."""
    world.write("program.py", "import keras\nmodel = keras.Sequential()\nmodel.save('my_model')\n")

    report = world.check("script.yaml", only="script")

    causes = [finding.cause for _, finding in report.findings]
    assert causes == ["program.py:3: Keras 3.15.0 does not save a model to 'my_model'"]
    assert report.blocks
