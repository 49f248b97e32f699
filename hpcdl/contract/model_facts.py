"""A run's saved model in words: what it takes and gives, which images it fits, its epoch."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence


def describe_use(model: Dict[str, Any], classes: int) -> str:
    """One line for the log and ``hpcdl result``.

    Args:
        model: ``model`` of result.json, with ``file`` and ``input``.
        classes: the number of classes.
    """
    height, width, channels = model["input"]["shape"]
    kind = {1: "grey ", 3: "RGB "}.get(channels, "{}-channel ".format(channels))
    low, high = model["input"]["range"]
    gives = "a logit" if model.get("output") == "logits" else "a probability"
    takes = "takes {}images of {}x{} with values from {} to {}".format(
        kind, height, width, low, high
    )
    text = "{}, gives {} for each of {} classes".format(takes, gives, classes)
    if model.get("weights_only"):
        only_weights = (
            "has the weights alone, of a model that {}; build it with your function first"
        )
        text = only_weights.format(text)
    if model.get("needs"):
        text += "; needs {} when it is loaded".format(", ".join(model["needs"]))
    return "{} {}".format(model["file"], text)


def misfits(
    result: Dict[str, Any],
    shape: Optional[Sequence[int]],
    classes: Optional[int],
    names: Optional[Sequence[str]],
) -> List[str]:
    """What keeps a run's model from answering for the images of another run.

    Args:
        result: result.json of the run that the model comes from.
        shape: (height, width, channels) of the images; None if it is not known.
        classes: the number of their classes; None if it is not known.
        names: of these classes, in their order; None or empty if they have none.
    """
    takes, data = result["model"]["input"]["shape"], result["data"]
    problems = []
    if shape is not None and list(takes) != list(shape):
        message = "its model takes images of {}; those of this run are {}"
        problems.append(message.format(_by(takes), _by(shape)))
    if classes is not None and data["classes"] != classes:
        message = "its model tells {} classes apart; the data set has {}"
        problems.append(message.format(data["classes"], classes))
        return problems
    own_names = data.get("class_names")
    if own_names and names and list(own_names) != list(names):
        problems.append(_other_names(own_names, names))
    return problems


def _other_names(own: Sequence[str], others: Sequence[str]) -> str:
    """The first class that two lists of as many classes name differently."""
    for number, (name, other) in enumerate(zip(own, others)):
        if name != other:
            message = "class {} of its model is {}; that of the data set is {}"
            return message.format(number, name, other)
    return "its model's classes are not those of the data set"


def _by(lengths: Sequence[int]) -> str:
    return "x".join(str(length) for length in lengths)


def describe_tested(result: Dict[str, Any]) -> str:
    """Which epoch's weights were tested and saved, and the best epoch; empty for old results."""
    epoch = (result.get("test") or {}).get("epoch")
    best = result.get("best")
    if epoch is None:
        return ""
    if not best:
        return "tested and saved: epoch {}".format(epoch)
    value = "{} {:.4f}".format(best["monitor"], best["value"])
    if best["epoch"] == epoch:
        return "tested and saved: epoch {}, the best ({})".format(epoch, value)
    return (
        "tested and saved: epoch {}, the last; best was epoch {} ({}), whose weights "
        "train.early_stopping (restore_best) would keep".format(epoch, best["epoch"], value)
    )
