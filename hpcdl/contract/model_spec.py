"""The section `model` of a run: one class for each kind of model."""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Type, Union

from hpcdl.contract.settings import setting

METRICS = ("loss", "accuracy")  # of a model that does not come compiled
INITIALIZERS = (
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_normal",
    "orthogonal",
)
ACTIVATIONS = ("relu", "elu", "selu", "gelu", "tanh", "sigmoid", "swish", "linear")


@dataclass
class MlpSpec:
    """A stack of dense layers: flatten, dense + activation (+ dropout) each, then the classes."""

    name: str = setting("which model", "mlp", choices=("mlp",))
    dense: List[int] = setting("units of each hidden layer", [500, 500, 500], ge=1)
    activation: str = setting("activation of the hidden layers", "relu", choices=ACTIVATIONS)
    batch_norm: bool = setting("batch normalisation before each activation", False)
    dropout: float = setting("share dropped after each hidden layer", 0.0, ge=0, lt=1)
    initializer: str = setting(
        "how the kernels of convolutions and dense layers begin",
        "glorot_uniform",
        since="0.1.0",
        choices=INITIALIZERS,
    )
    l1: float = setting("L1 penalty on these kernels", 0.0, since="0.1.0", ge=0)
    l2: float = setting("L2 penalty on these kernels", 0.0, since="0.1.0", ge=0)
    output: str = setting("what the last layer gives", "softmax", choices=("softmax", "logits"))


@dataclass
class CnnSpec:
    """Convolution + 2x2 max pooling for each entry of filters, flatten, dense layers, then the
    classes.
    """

    name: str = setting("which model", "cnn", choices=("cnn",))
    filters: List[int] = setting("filters of each convolution", [32, 64], ge=1, min_length=1)
    kernel_size: Union[int, List[int]] = setting(
        "kernel width of all convolutions, or one for each", 3, ge=1
    )
    activation: str = setting("activation of the hidden layers", "relu", choices=ACTIVATIONS)
    batch_norm: bool = setting("batch normalisation before each activation", False)
    dense: List[int] = setting("units of each dense layer before the classes", [], ge=1)
    dropout: float = setting(
        "share dropped after the convolutions' features or each dense layer", 0.0, ge=0, lt=1
    )
    initializer: str = setting(
        "how the kernels of convolutions and dense layers begin",
        "glorot_uniform",
        since="0.1.0",
        choices=INITIALIZERS,
    )
    l1: float = setting("L1 penalty on these kernels", 0.0, since="0.1.0", ge=0)
    l2: float = setting("L2 penalty on these kernels", 0.0, since="0.1.0", ge=0)
    output: str = setting("what the last layer gives", "softmax", choices=("softmax", "logits"))


@dataclass
class ResnetSpec:
    """A small residual network: a 3x3 convolution, blocks of two, global average pooling, then
    the classes.

    Each convolution has batch normalisation; from one entry of filters to the next the image is
    halved. Sources: https://arxiv.org/abs/1512.03385, section 4.2;
    https://arxiv.org/abs/1812.01187, figure 2c (shortcuts).
    """

    name: str = setting("which model", "resnet", choices=("resnet",))
    filters: List[int] = setting("filters of each stage", [16, 32, 64], ge=1, min_length=1)
    blocks: int = setting("residual blocks of each stage", 2, ge=1)
    activation: str = setting("activation of the hidden layers", "relu", choices=ACTIVATIONS)
    dropout: float = setting("share dropped before the classes", 0.0, ge=0, lt=1)
    initializer: str = setting(
        "how the kernels of convolutions and dense layers begin",
        "he_normal",
        since="0.1.0",
        older="glorot_uniform",
        choices=INITIALIZERS,
    )
    l1: float = setting("L1 penalty on these kernels", 0.0, since="0.1.0", ge=0)
    l2: float = setting("L2 penalty on these kernels", 0.0, since="0.1.0", ge=0)
    output: str = setting("what the last layer gives", "softmax", choices=("softmax", "logits"))


@dataclass
class FunctionSpec:
    """A model built by the user's own function:
    ``function(input_shape, classes, **args) -> keras.Model``.

    ``input_shape`` is (height, width, channels) of images scaled to [0, 1]. A
    model that comes back compiled keeps its own optimizer, loss and metrics.
    """

    function: str = setting("package.module:function, next to the job file or in the image")
    args: Dict[str, Any] = setting("keyword arguments for the function", {})
    output: str = setting("what the last layer gives", "softmax", choices=("softmax", "logits"))


@dataclass
class BackboneSpec:
    """A network of keras.applications without its classes, pooling, dense layers, then the data
    set's classes.

    Its own preprocessing of images is part of the model, which takes images scaled to [0, 1] as
    all others do.
    """

    backbone: str = setting(
        "an architecture of keras.applications, such as MobileNetV2 or ResNet50"
    )
    weights: str = setting(
        "imagenet (staged: hpcdl data stage weights/NAME), none, or a path to an HDF5 file",
        "imagenet",
    )
    unfreeze: int = setting(
        "how many of its last layers train as well, except batch normalisation; "
        "the others are frozen",
        0,
        ge=0,
    )
    pooling: str = setting(
        "what becomes of its last feature maps", "avg", choices=("avg", "max", "flatten")
    )
    dense: List[int] = setting("units of each dense layer before the classes", [], ge=1)
    activation: str = setting("activation of these layers", "relu", choices=ACTIVATIONS)
    dropout: float = setting(
        "share dropped after each of them, or before the classes", 0.0, ge=0, lt=1
    )
    initializer: str = setting(
        "how the kernels of dense layers begin",
        "glorot_uniform",
        since="0.1.0",
        choices=INITIALIZERS,
    )
    l1: float = setting("L1 penalty on these kernels", 0.0, since="0.1.0", ge=0)
    l2: float = setting("L2 penalty on these kernels", 0.0, since="0.1.0", ge=0)
    output: str = setting("what the last layer gives", "softmax", choices=("softmax", "logits"))
    features: str = setting(
        "auto computes the features of a wholly frozen backbone once, if nothing augments images; "
        "off never does",
        "auto",
        choices=("auto", "off"),
    )
    features_cache: Optional[str] = setting(
        "a folder where these features are kept for other runs on the same data; "
        "without it, for this run alone",
        None,
    )


ModelSpec = Union[MlpSpec, CnnSpec, ResnetSpec, BackboneSpec, FunctionSpec]
MODELS: Dict[str, Type[Any]] = {"mlp": MlpSpec, "cnn": CnnSpec, "resnet": ResnetSpec}


def model_class(raw: Dict[str, Any]) -> Optional[Type[Any]]:
    """The class of a model section that is plain data; None for an unknown name."""
    if "function" in raw:
        return FunctionSpec
    if "backbone" in raw:
        return BackboneSpec
    name = raw.get("name")
    return MODELS.get(name) if isinstance(name, str) else None
