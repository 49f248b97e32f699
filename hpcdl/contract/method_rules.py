"""What is wrong with the sections in `train` that make a model small or robust."""

from __future__ import annotations

from typing import Callable, Iterator, Sequence

from hpcdl.contract.settings import SpecProblem
from hpcdl.contract.spec import RunSpec

_GREY_LEVELS = 255  # from black to white, in most image files


def attacked_rows(batch_rows: int, share: float) -> int:
    """How many rows of a batch train.adversarial attacks: the share, rounded."""
    return int(batch_rows * share + 0.5)


def _pruning_ends_after_it_begins(run: RunSpec) -> Iterator[SpecProblem]:
    prune = run.train.prune
    if prune is not None and prune.begin >= prune.end:
        expected = "less than end, which is {:g}: sparsity grows from begin to end".format(
            prune.end
        )
        yield SpecProblem("train.prune.begin", prune.begin, expected, ("train.prune.end",))


def _epsilon_is_within_images(run: RunSpec) -> Iterator[SpecProblem]:
    adversarial = run.train.adversarial
    if adversarial is None or adversarial.epsilon <= 1:
        return
    expected = "at most 1, the whole range of the images: black is 0 and white is 1"
    if adversarial.epsilon <= _GREY_LEVELS:
        expected += "; {:g} of {} grey levels are {:.3g}".format(
            adversarial.epsilon, _GREY_LEVELS, adversarial.epsilon / _GREY_LEVELS
        )
    yield SpecProblem("train.adversarial.epsilon", adversarial.epsilon, expected)


def _attack_has_a_row(run: RunSpec) -> Iterator[SpecProblem]:
    adversarial, rows = run.train.adversarial, run.train.batch_size
    if adversarial is not None and attacked_rows(rows, adversarial.share) < 1:
        expected = "at least {:.2g}, a row of each batch of {}".format(1 / rows, rows)
        reads = ("train.batch_size",)
        yield SpecProblem("train.adversarial.share", adversarial.share, expected, reads)


def _distillation_has_its_own_loss(run: RunSpec) -> Iterator[SpecProblem]:
    if run.train.distill is not None and run.train.labels == "one_hot":
        expected = "integers with train.distill, whose loss takes class numbers"
        yield SpecProblem("train.labels", "one_hot", expected, ("train.distill",))


METHOD_RULES: Sequence[Callable[[RunSpec], Iterator[SpecProblem]]] = (
    _pruning_ends_after_it_begins,
    _epsilon_is_within_images,
    _attack_has_a_row,
    _distillation_has_its_own_loss,
)
