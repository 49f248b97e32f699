"""Values that images should not have, arrays that nothing reads, and models that scale images again."""

from __future__ import annotations

import numpy as np
import pytest

from hpcdl.preflight.scaling import scaled_lines

LIGHT = np.linspace(0, 1, 30 * 8 * 8).reshape(30, 8, 8)
RANGES = {
    "digits": (
        LIGHT * 16,
        False,
        "x_train: values go up to 16, and are taken as [0, 255]: nearly black",
    ),
    "mask": (
        (LIGHT > 0.5).astype(np.uint8),
        False,
        "x_train: values go up to 1, and are taken as [0, 255]",
    ),
    "overshoot": (LIGHT * 1.02, False, "x_train: values go up to 1.02, and are taken as [0, 255]"),
    "divided twice": (
        LIGHT / 255,
        False,
        "x_train: values go up to 0.00392 only, and are taken as [0, 1]",
    ),
    "six bits": ((LIGHT * 63).astype(np.int64), False, "values go up to 63"),
    "signed": (
        LIGHT * 2 - 1,
        True,
        "x_train: values go from -1 to 1 (all rows); expected [0, 1] or [0, 255]",
    ),
    "twelve bits": ((LIGHT * 4095).astype(np.uint16), True, "values go from 0 to 4095"),
    "nan": (
        np.where(LIGHT == 0, np.nan, LIGHT),
        True,
        "x_train holds values that are NaN or infinite",
    ),
}
GOOD = {
    "floats": LIGHT, "float16": LIGHT.astype(np.float16), "bytes": (LIGHT * 255).astype(np.uint8),
    "floats to 255": LIGHT * 255, "dim": LIGHT * 0.5, "by columns": np.asfortranarray(LIGHT),
}  # fmt: skip


def stage(world, x_train, **more):
    x_test = x_train[:6].copy()
    x_test[0] = x_train.max()
    world.stage(x_train=x_train, x_test=x_test, **more)
    return [finding for _, finding in world.check(only="data").findings]


@pytest.mark.cases("C44")
@pytest.mark.parametrize("kind", RANGES)
def test_range_is_doubted_or_refused(world, kind):
    """What a run would take for another range, or refuse, is said before the queue."""
    x_train, blocks, text = RANGES[kind]

    finding = stage(world, x_train)[0]

    assert finding.blocks is blocks
    assert text in finding.cause


@pytest.mark.cases("C44")
@pytest.mark.parametrize("kind", GOOD)
def test_good_ranges_pass(world, kind):
    """Images from 0 to 1 or to 255, whatever their type, raise no doubt."""
    assert stage(world, GOOD[kind]) == []


@pytest.mark.cases("C44")
def test_sample_of_many_rows(world):
    """Where only the first rows were looked at, the message says so."""
    many = np.zeros((3000, 60, 60), np.uint8)
    many[:, 0] = 16

    [finding] = stage(world, many, y_train=np.arange(3000) % 3)[:1]

    assert "(the first 1,165 of 3,000 rows)" in finding.cause


@pytest.mark.cases("C45")
@pytest.mark.parametrize(
    "names", [("x_val", "y_val"), ("images_valid",), ("X_train",), ("weights",)]
)
def test_unread_arrays_are_named(world, names):
    """Arrays beside the four are left out, and said to be."""
    [finding] = stage(
        world, (LIGHT * 255).astype(np.uint8), **{name: np.arange(3) for name in names}
    )

    assert finding.blocks is False
    assert (
        f"not used: {', '.join(names)}. Only x_train, y_train, x_test and y_test are read"
        in finding.cause
    )
    assert ("data.validation_split" in finding.cause) is ("val" in names[0])


BAD_MODELS = {
    "rescaling": ("    x = tf.keras.layers.Rescaling(1 / 255)(x)", "this Rescaling"),
    "by keyword": ("    x = Rescaling(offset=-1, scale=1.0 / 127.5)(x)", "this Rescaling"),
    "division": ("    x = x / 255.0", "a division by 255"),
    "lambda": ("    x = Lambda(lambda image: image / 127.5 - 1)(x)", "a division by 127.5"),
    "backbone": (
        "    net = tf.keras.applications.EfficientNetB0(include_top=False)",
        "EfficientNetB0, in its first layers,",
    ),
    "newer": ("    net = applications.ConvNeXtTiny()", "ConvNeXtTiny, in its first layers,"),
    "told to": (
        "    net = MobileNetV3Small(include_preprocessing=True)",
        "MobileNetV3Small, in its first layers,",
    ),
    "caffe": ("    x = tf.keras.applications.resnet50.preprocess_input(x)", "preprocess_input"),
}
GOOD_MODELS = {
    "told not to": "    net = MobileNetV3Small(include_preprocessing=False)",
    "brought back": "    x = Rescaling(255.0)(x)\n    net = EfficientNetB0()",
    "multiplied": "    x = x * 255.0\n    net = EfficientNetB0()",
    "centred": "    x = Rescaling(2.0, -1.0)(x)",
    "other network": "    net = ResNet50(weights=None)",
    "other number": "    units = classes / 2",
}
HEAD = "import numpy as np\n\ndef load():\n    return np.ones(3) / 255\n\n"


@pytest.mark.cases("C34")
@pytest.mark.parametrize("kind", BAD_MODELS)
def test_second_scaling_is_found(world, kind):
    """The line of the user's model that scales images again, with the remedy; loading data may divide."""
    line, what = BAD_MODELS[kind]
    world.write("my.py", f"{HEAD}def build(shape, classes):\n{line}\n")

    [(_, finding)] = world.check(
        "model.yaml", "model={function: my:build}", only="image values"
    ).findings

    assert finding.cause.startswith(f"my.py:7: {what}")
    assert "Rescaling(255.0)" in finding.fix
    assert finding.blocks is False


@pytest.mark.cases("C34")
@pytest.mark.parametrize("kind", GOOD_MODELS)
def test_no_second_scaling(world, kind):
    """Models for images from 0 to 1 are left alone."""
    world.write("my.py", f"{HEAD}def build(shape, classes):\n{GOOD_MODELS[kind]}\n")

    assert (
        world.check("model.yaml", "model={function: my:build}", only="image values").findings == []
    )


@pytest.mark.cases("C34")
def test_helpers_and_classes_are_followed():
    """What the function uses of its module counts as its own; what it does not use does not."""
    source = (
        "SCALE = Rescaling(1 / 255)\n"
        "class Net(Model):\n    def call(self, x):\n        return self.last(x / 255)\n"
        "def other(x):\n    return x / 255\n"
        "def build(shape, classes):\n    return Sequential([SCALE, Net()])\n"
    )

    assert [line for line, _ in scaled_lines(source, "build")] == [1, 4]


@pytest.mark.cases("C23")
def test_labels_from_one_are_reported(world):
    """The run counts them from 0; the check does the same, and says so."""
    y_train, y_test = np.arange(30) % 3 + 1, np.arange(6) % 3 + 1
    world.stage(
        x_train=(LIGHT * 255).astype(np.uint8),
        x_test=(LIGHT[-6:] * 255).astype(np.uint8),
        y_train=y_train,
        y_test=y_test,
    )

    report = world.check(only="data")

    assert report.findings == []
    assert "data: labels go from 1 to 3: label 1 becomes class number 0, and so on" in report.notes
