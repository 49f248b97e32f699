"""RunSpec: what one training run is, the contract between the host and the container.

The host fills a `RunSpec` from a job file and writes it to ``run.json``; the
trainer reads it back with `RunSpec.from_json`. A job file's ``data``, ``model``
and ``train`` sections are these very classes, so each setting is described
once: its type, its bounds and its meaning are in the fields below, and the job
reader, the docs and the trainer all take them from there.

Annotations here are real objects (no deferred evaluation, no ``list[int]``), so
that they resolve on Python 3.8 and can be read by the host.
"""

import copy
import json
import re
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type, TypeVar, Union

SCHEMA_VERSION = 1

# Exit statuses of the trainer, after sysexits.h where it has a name for them.
EXIT_DONE = 0
EXIT_USER_CODE = 1  # the user's own function raised
EXIT_SPEC = 64  # EX_USAGE: run.json is wrong
EXIT_DATA = 65  # EX_DATAERR: the data set is missing, damaged or does not fit
EXIT_DEVICES = 69  # EX_UNAVAILABLE: the devices asked for are not there
EXIT_INTERNAL = 70  # EX_SOFTWARE: a fault in hpcdl or TensorFlow
EXIT_STOPPED = 75  # EX_TEMPFAIL: stopped on request, state saved, run me again

OPTIMIZERS = ("sgd", "adam", "rmsprop", "adagrad", "nadam")
METRICS = ("loss", "accuracy")  # of a model that does not come compiled
SCHEDULES = ("constant", "step", "exponential", "cosine", "plateau")
INITIALIZERS = (
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_normal",
    "orthogonal",
)
ACTIVATIONS = ("relu", "elu", "selu", "gelu", "tanh", "sigmoid", "swish", "linear")
FLIPS = ("horizontal", "vertical", "both")
# Each augmentation: what its number means, and its bounds as `setting` has them
AUGMENTATIONS: Dict[str, Tuple[str, Dict[str, float]]] = {
    "flip": ("horizontal, vertical or both: each with even chances", {}),
    "rotate": ("up to so many degrees either way", {"gt": 0, "le": 180}),
    "zoom": ("up to this share nearer or farther", {"gt": 0, "lt": 1}),
    "shift": ("up to this share of the height and of the width", {"gt": 0, "lt": 1}),
    "contrast": ("distances from the image's mean times 1 - this to 1 + this", {"gt": 0, "lt": 1}),
    "brightness": ("up to this much added or taken away, where white is 1", {"gt": 0, "lt": 1}),
    "cutout": (
        "a square with this share of the shorter side is grey, anywhere",
        {"gt": 0, "lt": 1},
    ),
}

# What was added to a section since the first release, with what stands for a run that is older than it
LATER: Dict[str, Dict[str, Any]] = {
    "data": {
        "function": None,
        "args": {},
        "image_size": None,
        "color": "auto",
        "test_split": 0.2,
        "cache": "auto",
        "augment": [],
    },
    "train": {
        "early_stopping": None,
        "schedule": None,
        "label_smoothing": 0.0,
        "labels": "integers",
        "balance": "none",
        "precision": "auto",
        "jit": "auto",
        "cross_validation": None,
        "tensorboard": False,
    },
    "schedule": {"monitor": "val_loss", "patience": 3},
    "optimizer": {"weight_decay": None, "clip_norm": None},
    "model": {"initializer": "glorot_uniform", "l1": 0.0, "l2": 0.0},
}


class SpecError(ValueError):
    """run.json does not describe a run that this trainer can do."""


def setting(doc: str, default: Any = MISSING, **bounds: Any) -> Any:
    """A dataclass field with its meaning and its bounds.

    Args:
        doc: one line for people: what it is, and its unit.
        default: its default; a list is copied for each instance.
        **bounds: any of ge, gt, le, lt (numbers), choices (a tuple of strings),
            min_length. They hold for each number or string in the value.
    """
    metadata = dict(bounds, doc=doc)
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class DataSpec:
    """The data set: arrays in a file, a folder of images per class, a packed set, or what a function returns.

    A path is an ``.npz`` file in Keras's layout, or a folder: of MNIST-style IDX files, of images in a folder
    for each class (below ``train`` and ``test``, or without), of what ``hpcdl data pack`` made, or of TFRecord
    files (``train*.tfrecord`` and ``test*.tfrecord``).
    """

    name: Optional[str] = setting(
        "a staged data set: <data_root>/<name>.npz, or the folder <data_root>/<name>", None
    )
    path: Optional[str] = setting(
        "instead of name: an .npz file, or a folder of images per class, of IDX files, of a packed set or of TFRecords",
        None,
    )
    function: Optional[str] = setting(
        "instead of both: package.module:function, which returns (x_train, y_train), (x_test, y_test)",
        None,
    )
    args: Dict[str, Any] = setting("keyword arguments for the function", {})
    image_size: Optional[List[int]] = setting(
        "[height, width] in pixels that images are resized to; needed where they differ in size",
        None,
        ge=1,
    )
    color: str = setting(
        "channels: grey, rgb, or auto: as they are, and rgb for image files and backbones",
        "auto",
        choices=("auto", "grey", "rgb"),
    )
    validation_split: float = setting(
        "share of the training rows of each class kept for validation, chosen by the seed",
        0.0,
        ge=0,
        lt=1,
    )
    test_split: float = setting(
        "share of the images of each class kept as the test part, where the set has none",
        0.2,
        gt=0,
        lt=1,
    )
    cache: str = setting(
        "where images wait: memory (decoded once), none (read again in each epoch), or auto: memory where they fit",
        "auto",
        choices=("auto", "memory", "none"),
    )
    augment: List[Any] = setting(
        "random changes of the training images, in a list: " + ", ".join(AUGMENTATIONS), []
    )

    def channels(self, stored: int) -> int:
        """The channels that the model takes, of images stored with so many."""
        return {"auto": stored, "grey": 1, "rgb": 3}[self.color]


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
        choices=INITIALIZERS,
    )
    l1: float = setting("L1 penalty on these kernels", 0.0, ge=0)
    l2: float = setting("L2 penalty on these kernels", 0.0, ge=0)
    output: str = setting("what the last layer gives", "softmax", choices=("softmax", "logits"))


@dataclass
class CnnSpec:
    """Convolution + 2x2 max pooling for each entry of filters, flatten, dense layers, then the classes."""

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
        choices=INITIALIZERS,
    )
    l1: float = setting("L1 penalty on these kernels", 0.0, ge=0)
    l2: float = setting("L2 penalty on these kernels", 0.0, ge=0)
    output: str = setting("what the last layer gives", "softmax", choices=("softmax", "logits"))


@dataclass
class ResnetSpec:
    """A small residual network: a 3x3 convolution, blocks of two, global average pooling, then the classes.

    Each convolution has batch normalisation; from one entry of filters to the next the image is halved.
    Sources: https://arxiv.org/abs/1512.03385, section 4.2; https://arxiv.org/abs/1812.01187, figure 2c (shortcuts).
    """

    name: str = setting("which model", "resnet", choices=("resnet",))
    filters: List[int] = setting("filters of each stage", [16, 32, 64], ge=1, min_length=1)
    blocks: int = setting("residual blocks of each stage", 2, ge=1)
    activation: str = setting("activation of the hidden layers", "relu", choices=ACTIVATIONS)
    dropout: float = setting("share dropped before the classes", 0.0, ge=0, lt=1)
    initializer: str = setting(
        "how the kernels of convolutions and dense layers begin", "he_normal", choices=INITIALIZERS
    )
    l1: float = setting("L1 penalty on these kernels", 0.0, ge=0)
    l2: float = setting("L2 penalty on these kernels", 0.0, ge=0)
    output: str = setting("what the last layer gives", "softmax", choices=("softmax", "logits"))


@dataclass
class FunctionSpec:
    """A model built by the user's own function: ``function(input_shape, classes, **args) -> keras.Model``.

    ``input_shape`` is (height, width, channels) of images scaled to [0, 1]. A
    model that comes back compiled keeps its own optimizer, loss and metrics.
    """

    function: str = setting("package.module:function, beside the job file or in the image")
    args: Dict[str, Any] = setting("keyword arguments for the function", {})
    output: str = setting("what the last layer gives", "softmax", choices=("softmax", "logits"))


@dataclass
class BackboneSpec:
    """A network of keras.applications without its classes, pooling, dense layers, then the data set's classes.

    Its own preprocessing of images is part of the model, which takes images scaled to [0, 1] as all others do.
    """

    backbone: str = setting(
        "an architecture of keras.applications, such as MobileNetV2 or ResNet50"
    )
    weights: str = setting(
        "imagenet (staged: hpcdl data stage weights/NAME), none, or a path to an HDF5 file",
        "imagenet",
    )
    unfreeze: int = setting(
        "how many of its last layers train as well, but for batch normalisation; the others are frozen",
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
        "how the kernels of dense layers begin", "glorot_uniform", choices=INITIALIZERS
    )
    l1: float = setting("L1 penalty on these kernels", 0.0, ge=0)
    l2: float = setting("L2 penalty on these kernels", 0.0, ge=0)
    output: str = setting("what the last layer gives", "softmax", choices=("softmax", "logits"))
    features: str = setting(
        "auto computes the features of a wholly frozen backbone once, where nothing augments images; off never does",
        "auto",
        choices=("auto", "off"),
    )
    features_cache: Optional[str] = setting(
        "a folder where these features are kept for other runs on the same data; without it, for this run alone",
        None,
    )


ModelSpec = Union[MlpSpec, CnnSpec, ResnetSpec, BackboneSpec, FunctionSpec]
MODELS = {"mlp": MlpSpec, "cnn": CnnSpec, "resnet": ResnetSpec}


@dataclass
class OptimizerSpec:
    """The optimizer; what is left out keeps Keras's default."""

    name: str = setting("which optimizer", "adam", choices=OPTIMIZERS)
    learning_rate: Optional[float] = setting("learning rate", None, gt=0)
    momentum: Optional[float] = setting("momentum (sgd and rmsprop)", None, ge=0, lt=1)
    nesterov: Optional[bool] = setting("Nesterov momentum (sgd)", None)
    weight_decay: Optional[float] = setting(
        "decoupled weight decay, as AdamW has it, of every step", None, gt=0
    )
    clip_norm: Optional[float] = setting(
        "the norm that all gradients together are cut to", None, gt=0
    )


@dataclass
class ScheduleSpec:
    """How the learning rate changes during training; it begins with the optimizer's.

    plateau multiplies by factor whenever the monitored metric has not improved for patience epochs.
    """

    name: str = setting("by which rule", choices=SCHEDULES)
    warmup_epochs: float = setting(
        "epochs in which it first grows from nothing to the optimizer's", 0.0, ge=0
    )
    factor: Optional[float] = setting(
        "step, exponential and plateau multiply by it (default 0.1); cosine ends with this share of it (default 0)",
        None,
        ge=0,
        le=1,
    )
    every_epochs: float = setting(
        "after how many epochs step and exponential have multiplied once", 1.0, gt=0
    )
    monitor: str = setting(
        "plateau: a metric as in metrics.jsonl, such as val_loss or loss", "val_loss"
    )
    patience: int = setting(
        "plateau: epochs without improvement after which it multiplies", 3, ge=1
    )

    def problem(
        self, validation_split: float, metrics: Optional[Sequence[str]]
    ) -> Optional[Tuple[str, str]]:
        """What is wrong with plateau's metric; arguments and result as in `EarlyStoppingSpec.problem`."""
        if self.name != "plateau":
            return None
        found = EarlyStoppingSpec(self.monitor).problem(validation_split, metrics)
        if found and found[0] == "mode":
            return (
                "monitor",
                "a metric whose name says which is better, such as loss, accuracy or auc",
            )
        return found


@dataclass
class EarlyStoppingSpec:
    """Stop when a metric no longer improves; the weights of its best epoch are what is evaluated and saved."""

    monitor: str = setting(
        "a metric as in metrics.jsonl: loss, accuracy, val_loss, val_accuracy, ...", "val_loss"
    )
    patience: int = setting("epochs without improvement after which training stops", 5, ge=1)
    min_delta: float = setting("a change up to this one is no improvement", 0.0, ge=0)
    restore_best: bool = setting(
        "evaluate and save the weights of the best epoch; else those of the last one", True
    )
    mode: str = setting(
        "whether min or max is best; auto goes by the words of the metric's name: max for accuracy, acc, auc, "
        "precision, recall and f1, min for loss, error, mae, mse, rmse and crossentropy",
        "auto",
        choices=("auto", "min", "max"),
    )

    def larger_is_better(self) -> Optional[bool]:
        """Which way the metric improves; None where mode is auto and its name does not say."""
        words = set(re.split("[^a-z0-9]+", str(self.monitor).lower()))
        if self.mode != "auto":
            return self.mode == "max"
        if words & {"loss", "error", "mae", "mse", "rmse", "crossentropy"}:
            return False
        return True if words & {"accuracy", "acc", "auc", "precision", "recall", "f1"} else None

    def problem(
        self, validation_split: float, metrics: Optional[Sequence[str]]
    ) -> Optional[Tuple[str, str]]:
        """What is wrong beyond types and bounds.

        Args:
            validation_split: the share of rows for validation.
            metrics: the model's metrics, without those of validation; None where they are not known yet.

        Returns:
            (key, what was expected there), or None.
        """
        validates = self.monitor.startswith("val_")
        if validates and validation_split == 0:
            return "monitor", "a metric without val_, or data.validation_split > 0"
        if metrics is not None and self.monitor[4 * validates :] not in metrics:
            known = [*metrics, *("val_" + name for name in metrics if validation_split)]
            return "monitor", "one of " + ", ".join(known)
        if self.larger_is_better() is None:
            return "mode", "min or max, as the name {} does not say which is better".format(
                self.monitor
            )
        return None


@dataclass
class TrainSpec:
    """How the model is trained."""

    epochs: int = setting("passes over the training rows", 5, ge=1)
    batch_size: int = setting("rows of one step, over all replicas together", 100, ge=1)
    optimizer: OptimizerSpec = field(
        default_factory=OptimizerSpec,
        metadata={"doc": "the optimizer, by name or with its settings"},
    )
    schedule: Optional[ScheduleSpec] = setting(
        "how the learning rate changes; without it, never", None
    )
    label_smoothing: float = setting(
        "share of each label that is spread over all classes", 0.0, ge=0, lt=1
    )
    labels: str = setting(
        "what the loss is given: class numbers, or one-hot rows (for a function's compiled model)",
        "integers",
        choices=("integers", "one_hot"),
    )
    balance: str = setting(
        "what evens out classes of unequal size: class_weight (rare rows count more), oversample (they come more "
        "often), undersample (common ones come less often)",
        "none",
        choices=("none", "class_weight", "oversample", "undersample"),
    )
    seed: int = setting(
        "makes two runs equal: weights, order of rows, dropout", 1, ge=0, le=2**31 - 1
    )
    early_stopping: Optional[EarlyStoppingSpec] = setting(
        "when to stop before the last epoch; without it, never", None
    )
    precision: str = setting(
        "numbers to compute with; auto is float32 (in TF32 where the GPU has it)",
        "auto",
        choices=("auto", "float32", "mixed_float16", "mixed_bfloat16"),
    )
    jit: str = setting(
        "whether XLA compiles the steps; auto is off: slower where it was measured, on CPUs",
        "auto",
        choices=("auto", "on", "off"),
    )
    cross_validation: Optional[int] = setting(
        "train so many times, each time with another part of the training rows for validation",
        None,
        ge=2,
    )
    tensorboard: bool = setting("write logs that TensorBoard reads: hpcdl tensorboard RUN", False)


@dataclass
class DeviceSpec:
    """The devices the run must find; another number is an error, not a slow run."""

    gpus: int = setting("GPUs; 0 trains on the CPU", 0, ge=0)
    emulate: bool = setting("stand in logical CPU devices for the GPUs (test beds only)", False)


@dataclass
class SavingSpec:
    """When checkpoints are saved: after so many seconds or steps, whichever comes first, and at the end."""

    every_s: float = setting("seconds between two checkpoints", 300.0, ge=1)
    every_steps: Optional[int] = setting(
        "steps between two checkpoints; without it, time alone counts", None, ge=1
    )
    keep: int = setting("how many of the newest checkpoints are kept", 3, ge=1)


@dataclass
class RunSpec:
    """One training run. Paths are absolute, or relative to the folder of run.json.

    Raises:
        SpecError: from `from_json`, when the text is not such a run.
    """

    name: str
    data: DataSpec
    model: ModelSpec
    train: TrainSpec
    devices: DeviceSpec
    hpcdl_version: str
    schema_version: int = SCHEMA_VERSION
    saving: SavingSpec = field(default_factory=SavingSpec)

    @property
    def validation_share(self) -> float:
        """The share of the training rows that validates: by data.validation_split, or as one fold of several."""
        folds = self.train.cross_validation
        return 1 / folds if folds else self.data.validation_split

    def to_json(self) -> str:
        """The text of run.json: the same bytes for the same run."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "RunSpec":
        """Read run.json's text back, refusing another schema, unknown keys and missing ones."""
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise SpecError("run.json is not JSON: {}".format(error))
        if not isinstance(raw, dict):
            raise SpecError("run.json must hold an object, not {}".format(type(raw).__name__))
        version = raw.get("schema_version")
        if version != SCHEMA_VERSION:
            raise SpecError(
                "run.json has schema_version {!r}; this trainer reads {}".format(
                    version, SCHEMA_VERSION
                )
            )
        raw.setdefault("saving", asdict(SavingSpec()))
        for name, section in sections(raw).items():
            if not (name == "model" and {"function", "backbone"} & set(section)):
                section.update(dict(copy.deepcopy(LATER[name]), **section))
        run = _build(cls, raw, "run.json")
        run.data = _build(DataSpec, raw["data"], "data")
        run.model = _build(_model_class(raw["model"]), raw["model"], "model")
        run.train = _build(TrainSpec, raw["train"], "train")
        run.train.optimizer = _build(OptimizerSpec, raw["train"]["optimizer"], "train.optimizer")
        if raw["train"]["schedule"] is not None:
            run.train.schedule = _build(ScheduleSpec, raw["train"]["schedule"], "train.schedule")
        if raw["train"]["early_stopping"] is not None:
            run.train.early_stopping = _build(
                EarlyStoppingSpec, raw["train"]["early_stopping"], "train.early_stopping"
            )
        run.devices = _build(DeviceSpec, raw["devices"], "devices")
        run.saving = _build(SavingSpec, raw["saving"], "saving")
        return run


def augment_problems(entries: Sequence[Any]) -> List[Tuple[int, str]]:
    """What is wrong with a list of augmentations: (place in the list, what was expected and given)."""
    problems: List[Tuple[int, str]] = []
    seen = set()
    for place, entry in enumerate(entries):
        name, value = (
            next(iter(entry.items()))
            if isinstance(entry, dict) and len(entry) == 1
            else (None, None)
        )
        if name not in AUGMENTATIONS:
            known = "expected one key and its value, such as rotate: 15; known are {}; got {!r}"
            problems.append((place, known.format(", ".join(AUGMENTATIONS), entry)))
            continue
        expected = _augmentation_expects(name, value)
        if expected:
            problems.append((place, "{}: expected {}; got {!r}".format(name, expected, value)))
        if name in seen:
            problems.append((place, "{}: is in the list twice".format(name)))
        seen.add(name)
    return problems


def _augmentation_expects(name: str, value: Any) -> str:
    """What an augmentation takes, where the value is not it; else empty."""
    if name == "flip":
        return "" if value in FLIPS else "one of " + ", ".join(FLIPS)
    about, bounds = AUGMENTATIONS[name]
    most = bounds.get("le", bounds.get("lt", 0.0))
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and bounds["gt"] < value and (value < most or (value == most and "le" in bounds)):
        return ""
    end = "up to" if "le" in bounds else "below"
    return "a number above {:g} and {} {:g} ({})".format(bounds["gt"], end, most, about)


def sections(raw: Dict[str, Any]) -> Dict[str, Dict[str, Any]]:
    """The sections of a run as plain data that `LATER` tells of, where they are there."""
    train = raw.get("train")
    inner = train if isinstance(train, dict) else {}
    found = {
        "data": raw.get("data"),
        "train": train,
        "model": raw.get("model"),
        "optimizer": inner.get("optimizer"),
        "schedule": inner.get("schedule"),
    }
    return {name: section for name, section in found.items() if isinstance(section, dict)}


def _model_class(raw: Any) -> Type[Any]:
    if isinstance(raw, dict) and "function" in raw:
        return FunctionSpec
    if isinstance(raw, dict) and "backbone" in raw:
        return BackboneSpec
    name = raw.get("name") if isinstance(raw, dict) else None
    if name not in MODELS:
        raise SpecError(
            "model.name is {!r}; expected one of {}".format(name, ", ".join(sorted(MODELS)))
        )
    return MODELS[name]


T = TypeVar("T")


def _build(cls: Type[T], raw: Any, where: str) -> T:
    if not isinstance(raw, dict):
        raise SpecError("{} must be an object, not {!r}".format(where, raw))
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]  # cls is a dataclass
    unknown = sorted(set(raw) - known)
    missing = sorted(known - set(raw))
    if unknown or missing:
        raise SpecError("{}: unknown keys {}, missing keys {}".format(where, unknown, missing))
    return cls(**raw)
