"""The sections in `train` that make a model small or robust."""

from dataclasses import dataclass

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
