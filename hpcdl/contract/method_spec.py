"""What a training takes from other runs, and the sections that make a model small or robust."""

from dataclasses import dataclass
from typing import List, Union

from hpcdl.contract.settings import setting


@dataclass
class PruneSpec:
    """Pruning: the smallest kernel weights become 0, more and more of them, and stay 0."""

    sparsity: float = setting("share of the kernel weights that are 0 in the end", gt=0, lt=1)
    begin: float = setting("share of the training's steps before the first becomes 0", 0.2, ge=0)
    end: float = setting("share of the training's steps after which no more become 0", 0.8, le=1)


@dataclass
class AdversarialSpec:
    """Adversarial training: an attack changes some images of each batch so that the model errs."""

    epsilon: float = setting(
        "how far the attack may change each value of an image, where black is 0 and white is 1",
        gt=0,
    )
    steps: int = setting("steps of the attack: 1 for FGSM, more for PGD", 1, ge=1)
    share: float = setting("share of each batch that is attacked", 0.5, gt=0, le=1)


@dataclass
class DistillSpec:
    """Distillation: the model learns from the labels and from what a teacher answers.

    The loss is (1 - alpha) cross-entropy + alpha T^2 KL(teacher, model), both softened by the
    temperature T. Source: https://arxiv.org/abs/1503.02531, section 2.
    """

    teacher: Union[str, List[str]] = setting(
        "a run that is done: path, id or name; of several, the mean of their answers", min_length=1
    )
    alpha: float = setting(
        "share of the teacher in the loss; the labels have the rest", 0.9, gt=0, le=1
    )
    temperature: float = setting("divides the logits of both before they are compared", 4.0, gt=0)
    sha256: List[str] = setting("the teachers' model files as they were found", [], internal=True)


@dataclass
class StartSpec:
    """The saved model whose weights a model begins with.

    model: the file, in the folder of a run.
    """

    model: str = setting("the file of the saved model")
    sha256: str = setting("its sha256 when it was found")
