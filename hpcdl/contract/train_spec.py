"""The section `train` of a run, and the sections in it."""

import math
import re
from dataclasses import dataclass, replace
from typing import Optional, Sequence, Tuple

from hpcdl.contract.method_spec import AdversarialSpec, DistillSpec, PruneSpec
from hpcdl.contract.settings import setting

OPTIMIZERS = ("sgd", "adam", "rmsprop", "adagrad", "nadam")
SCHEDULES = ("constant", "step", "exponential", "cosine", "plateau")


@dataclass
class OptimizerSpec:
    """The optimizer; what is left out keeps Keras's default."""

    name: str = setting("which optimizer", "adam", choices=OPTIMIZERS)
    learning_rate: Optional[float] = setting("learning rate", None, gt=0)
    momentum: Optional[float] = setting("momentum (sgd and rmsprop)", None, ge=0, lt=1)
    nesterov: Optional[bool] = setting("Nesterov momentum (sgd)", None)
    weight_decay: Optional[float] = setting(
        "decoupled weight decay, as AdamW has it, of every step", None, since="0.1.0", gt=0
    )
    clip_norm: Optional[float] = setting(
        "the norm that all gradients together are cut to", None, since="0.1.0", gt=0
    )


@dataclass
class ScaleSpec:
    """How the learning rate grows with the GPUs, where the batch does.

    Source: https://arxiv.org/abs/1706.02677, sections 2.1 and 2.2 (linear, and the warm-up);
    https://arxiv.org/abs/1404.5997, section 5 (sqrt).
    """

    rule: str = setting(
        "linear: the optimizer's times the GPUs; sqrt: times their square root; none: as it is",
        choices=("linear", "sqrt", "none"),
    )
    warmup_epochs: float = setting(
        "epochs in which the rate grows from the optimizer's to the scaled one", 5.0, ge=0
    )

    def factor(self, gpus: int) -> float:
        """How many times the optimizer's learning rate a number of GPUs trains with."""
        return {"linear": float(gpus), "sqrt": math.sqrt(gpus), "none": 1.0}[self.rule]


@dataclass
class ScheduleSpec:
    """How the learning rate changes during training; it begins with the optimizer's.

    plateau multiplies by factor when the monitored metric has not improved for patience epochs.
    """

    name: str = setting("by which rule", choices=SCHEDULES)
    warmup_epochs: float = setting(
        "epochs in which it first grows from nothing to the optimizer's", 0.0, ge=0
    )
    factor: Optional[float] = setting(
        "step, exponential and plateau multiply by it (default 0.1); "
        "cosine ends with this share of it (default 0)",
        None,
        ge=0,
        le=1,
    )
    every_epochs: float = setting(
        "after how many epochs step and exponential have multiplied once", 1.0, gt=0
    )
    monitor: str = setting(
        "plateau: a metric as in metrics.jsonl, such as val_loss or loss", "val_loss", since="0.1.0"
    )
    patience: int = setting(
        "plateau: epochs without improvement after which it multiplies", 3, since="0.1.0", ge=1
    )

    def problem(
        self, validation_share: float, metrics: Optional[Sequence[str]]
    ) -> Optional[Tuple[str, str]]:
        """What is wrong with plateau's metric, as `EarlyStoppingSpec.problem` says it."""
        if self.name != "plateau":
            return None
        problem = EarlyStoppingSpec(self.monitor).problem(validation_share, metrics)
        if problem and problem[0] == "mode":  # a schedule has no mode to say it
            expected = "a metric whose name says which is better, such as loss, accuracy or auc"
            return "monitor", expected
        return problem


@dataclass
class EarlyStoppingSpec:
    """Stop when a metric no longer improves; the weights of its best epoch are evaluated and
    saved.
    """

    monitor: str = setting(
        "a metric as in metrics.jsonl: loss, accuracy, val_loss, val_accuracy, ...", "val_loss"
    )
    patience: int = setting("epochs without improvement after which training stops", 5, ge=1)
    min_delta: float = setting("a change up to this one is no improvement", 0.0, ge=0)
    restore_best: bool = setting(
        "evaluate and save the weights of the best epoch; else those of the last one", True
    )
    mode: str = setting(
        "whether min or max is best; auto goes by the words of the metric's name: "
        "max for accuracy, acc, auc, precision, recall and f1, "
        "min for loss, error, mae, mse, rmse and crossentropy",
        "auto",
        choices=("auto", "min", "max"),
    )

    def larger_is_better(self) -> Optional[bool]:
        """Which way the metric improves; None if mode is auto and its name does not say."""
        words = set(re.split("[^a-z0-9]+", str(self.monitor).lower()))
        if self.mode != "auto":
            return self.mode == "max"
        if words & {"loss", "error", "mae", "mse", "rmse", "crossentropy"}:
            return False
        if words & {"accuracy", "acc", "auc", "precision", "recall", "f1"}:
            return True
        return None

    def problem(
        self, validation_share: float, metrics: Optional[Sequence[str]]
    ) -> Optional[Tuple[str, str]]:
        """What is wrong beyond types and bounds. A section that watches metrics has this method.

        Args:
            validation_share: the share of the training rows that validates.
            metrics: the model's metrics, without those of validation; None if they are not known
                yet.

        Returns:
            (key, what was expected there), or None.
        """
        validates = self.monitor.startswith("val_")
        if validates and validation_share == 0:
            return "monitor", "a metric without val_, or data.validation_split > 0"
        name = self.monitor[len("val_") :] if validates else self.monitor
        if metrics is not None and name not in metrics:
            names = list(metrics)
            if validation_share:
                names += ["val_" + metric for metric in metrics]
            return "monitor", "one of " + ", ".join(names)
        if self.larger_is_better() is None:
            expected = "min or max, as the name {} does not say which is better"
            return "mode", expected.format(self.monitor)
        return None


@dataclass
class TrainSpec:
    """How the model is trained."""

    epochs: int = setting("passes over the training rows", 5, ge=1)
    batch_size: int = setting("rows of one step, over all replicas together", 100, ge=1)
    batch_size_per_gpu: Optional[int] = setting(
        "rows of one step on each GPU, in place of batch_size: the batch grows with the GPUs",
        None,
        since="0.5.0",
        ge=1,
    )
    scale_learning_rate: Optional[ScaleSpec] = setting(
        "how the learning rate grows with the GPUs of batch_size_per_gpu; without it, it does not",
        None,
        since="0.5.0",
        word="rule",
    )
    steps_per_epoch: Optional[int] = setting(
        "the most steps of an epoch, each epoch on other rows; without it, an epoch has all rows",
        None,
        since="0.5.0",
        ge=1,
    )
    time_parts: bool = setting(
        "measure after the training its input and its all-reduce, each alone, for hpcdl scale",
        False,
        since="0.5.0",
    )
    optimizer: OptimizerSpec = setting(
        "the optimizer, by name or with its settings", OptimizerSpec, word="name"
    )
    schedule: Optional[ScheduleSpec] = setting(
        "how the learning rate changes; without it, never", None, since="0.1.0"
    )
    label_smoothing: float = setting(
        "share of each label that is spread over all classes", 0.0, since="0.1.0", ge=0, lt=1
    )
    labels: str = setting(
        "what the loss is given: class numbers, or one-hot rows (for a function's compiled model)",
        "integers",
        since="0.1.0",
        choices=("integers", "one_hot"),
    )
    balance: str = setting(
        "what evens out classes of unequal size: class_weight (rare rows count more), "
        "oversample (they come more often), undersample (common ones come less often)",
        "none",
        since="0.1.0",
        choices=("none", "class_weight", "oversample", "undersample"),
    )
    seed: int = setting(
        "makes two runs equal: weights, order of rows, dropout", 1, ge=0, le=2**31 - 1
    )
    early_stopping: Optional[EarlyStoppingSpec] = setting(
        "when to stop before the last epoch; without it, never", None, since="0.1.0"
    )
    precision: str = setting(
        "numbers to compute with; auto is float32 (in TF32 where the GPU has it)",
        "auto",
        since="0.1.0",
        choices=("auto", "float32", "mixed_float16", "mixed_bfloat16"),
    )
    jit: str = setting(
        "whether XLA compiles the steps; auto is off: slower where it was measured, on CPUs",
        "auto",
        since="0.1.0",
        choices=("auto", "on", "off"),
    )
    cross_validation: Optional[int] = setting(
        "train that many times, each time with another part of the training rows for validation",
        None,
        since="0.1.0",
        ge=2,
    )
    tensorboard: bool = setting(
        "write logs that TensorBoard reads: hpcdl tensorboard RUN", False, since="0.1.0"
    )
    prune: Optional[PruneSpec] = setting(
        "set the smallest weights to 0 on the way; without it, none", None, since="0.4.0"
    )
    adversarial: Optional[AdversarialSpec] = setting(
        "train on images that an attack has changed, too; without it, not", None, since="0.4.0"
    )
    distill: Optional[DistillSpec] = setting(
        "learn from another run's model, too; without it, from the labels alone",
        None,
        since="0.4.0",
    )

    def for_gpus(self, gpus: int) -> "TrainSpec":
        """The same with the batch that it has on some GPUs; without GPUs, the CPU counts as one."""
        if not isinstance(self.batch_size_per_gpu, int):
            return self
        return replace(self, batch_size=self.batch_size_per_gpu * max(1, gpus))
