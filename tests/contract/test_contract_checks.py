"""A wrong RunSpec is refused with every problem named, before any data is read."""

from dataclasses import replace

import pytest

from hpcdl.contract.checks import check_fit, check_spec
from hpcdl.contract.spec import (
    CnnSpec,
    DataSpec,
    DeviceSpec,
    FunctionSpec,
    MlpSpec,
    OptimizerSpec,
    RunSpec,
    SpecError,
    TestSpec,
    TrainSpec,
)


@pytest.fixture
def spec() -> RunSpec:
    data = DataSpec(path="data.npz")
    return RunSpec("test", data, MlpSpec(dense=[8]), TrainSpec(), DeviceSpec(), hpcdl_version="0")


WRONG = [
    ({"train": TrainSpec(epochs="5")}, "train.epochs is '5'; expected int"),  # type: ignore[arg-type]
    ({"train": TrainSpec(epochs=0)}, "train.epochs is 0; expected >= 1"),
    ({"train": TrainSpec(seed=True)}, "train.seed is True; expected int"),
    (
        {"train": TrainSpec(optimizer=OptimizerSpec("sdg"))},
        "train.optimizer.name is 'sdg'; expected one of sgd, adam",
    ),
    (
        {"train": TrainSpec(optimizer=OptimizerSpec("adam", momentum=0.9))},
        "momentum is 0.9; expected none with adam (sgd and rmsprop take it)",
    ),
    ({"model": MlpSpec(dense=[10, 0])}, "model.dense is 0; expected >= 1"),
    ({"model": MlpSpec(dense=10)}, "model.dense is 10; expected List[int]"),  # type: ignore[arg-type]
    ({"model": CnnSpec(filters=[])}, "expected at least 1 entries"),
    ({"model": CnnSpec(filters=[8, 8], kernel_size=[3])}, "one for each of the 2 filters"),
    ({"model": MlpSpec(dropout=1)}, "model.dropout is 1; expected < 1"),
    ({"model": FunctionSpec("module.function")}, "expected package.module:function"),
    ({"data": DataSpec(name="mnist")}, "data.path is missing"),
    (
        {"train": TrainSpec(batch_size=2), "devices": DeviceSpec(gpus=4)},
        "one row for each of the 4 GPUs",
    ),
    ({"test": TestSpec(explain="gradcam")}, "test.explain is 'gradcam'; expected one of auto, occ"),
    ({"test": TestSpec(attack=[0.0])}, "test.attack is 0.0; expected > 0"),
    ({"test": TestSpec(attack=[8.0])}, "up to 1, the whole range of the images: black is 0"),
    ({"test": TestSpec(attack=[8])}, "8 of 255 grey levels are 0.0314"),
    (
        {"test": TestSpec(attack=[0.1, 0.1])},
        "test.attack is [0.1, 0.1]; expected each epsilon once",
    ),
    ({"test": TestSpec(attack=[0.1, 0.05])}, "expected ascending epsilons"),
    ({"test": TestSpec(attack=0.1)}, "test.attack is 0.1; expected List[float]"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("sections", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_setting_is_named(spec, sections, message):
    with pytest.raises(SpecError) as caught:
        check_spec(replace(spec, **sections))
    assert message in str(caught.value)


def test_right_spec_passes(spec):
    check_spec(spec)
    check_spec(replace(spec, model=CnnSpec(filters=[32, 64], kernel_size=[5, 3])))


def test_all_spec_problems_are_named(spec):
    with pytest.raises(SpecError) as caught:
        check_spec(
            replace(spec, train=TrainSpec(epochs=0, batch_size=0), model=MlpSpec(activation="rule"))
        )
    assert len(str(caught.value).splitlines()) == 3


def test_images_too_small_for_the_convolutions(spec):
    model = CnnSpec(filters=[8, 8, 8], kernel_size=3)
    check_fit(replace(spec, model=model), (28, 28, 1))
    with pytest.raises(SpecError, match=r"convolution 2 .* gets 4x4 pixels.* images have 10x10"):
        check_fit(replace(spec, model=CnnSpec(filters=[8, 8], kernel_size=[3, 4])), (10, 10, 1))


def test_maps_are_made_once_unless_asked():
    """A trial or a fold makes them only if the job file says how."""
    assert TestSpec().method(among_many=False) == "occlusion"
    assert TestSpec().method(among_many=True) == "none"
    assert TestSpec("saliency").method(among_many=True) == "saliency"
    assert TestSpec("none").method(among_many=False) == "none"
