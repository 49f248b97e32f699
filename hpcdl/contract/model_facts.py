"""A run's saved model in words: what it takes and gives, and which epoch was tested."""

from __future__ import annotations

from typing import Any, Dict


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
