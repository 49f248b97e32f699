"""How a model does under attack: the curve over epsilon, and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hpcdl.formats import percent, several
from hpcdl.report import svg

_GREY_LEVELS = 255
_FOOLED = 0.5  # of the accuracy without attack: what is left below it is worth a sentence


@dataclass(frozen=True)
class UnderAttack:
    """What the page says of the attacks.

    text: in sentences.
    points: (epsilon, accuracy under FGSM, accuracy under PGD), from epsilon 0 on.
    chart: the drawing; None without figures.
    """

    text: str
    points: list[tuple[str, float, float]]
    chart: dict[str, Any] | None


def under_attack(attack: Any, data: dict[str, Any]) -> UnderAttack | None:
    """The accuracy under attack; None if it was not asked for.

    Args:
        attack: ``test.attack`` of result.json.
        data: ``data`` of result.json.
    """
    if not isinstance(attack, dict):
        return None
    if "problem" in attack:
        return UnderAttack(f"The attacks were not measured: {attack['problem']}.", [], None)
    if not attack["by_epsilon"] or "accuracy" not in attack:
        return None
    return UnderAttack(_text(attack, data.get("classes")), _points(attack), _chart(attack))


def _points(attack: dict[str, Any]) -> list[tuple[str, float, float]]:
    points = [("0", attack["accuracy"], attack["accuracy"])]
    for measured in attack["by_epsilon"]:
        points.append((f"{measured['epsilon']:g}", measured["fgsm"], measured["pgd"]))
    return points


def _chart(attack: dict[str, Any]) -> dict[str, Any]:
    lines = []
    for colour, (key, name) in enumerate((("fgsm", "FGSM, one step"), ("pgd", _pgd(attack)))):
        curve = [(0.0, attack["accuracy"])]
        for measured in attack["by_epsilon"]:
            curve.append((measured["epsilon"], measured[key]))
        lines.append(svg.Series(name, curve, colour))
    drawing = svg.line_chart(
        f"Accuracy under attack over epsilon, from 0 to {lines[0].points[-1][0]:g}",
        lines,
        lambda value: percent(value, 0),
        floor=0.0,
        x_name="epsilon",
    )
    title = f"Accuracy of {several(attack['rows'], 'test image')}"
    return {"title": title, "legend": lines, "svg": drawing, "note": ""}


def _pgd(attack: dict[str, Any]) -> str:
    steps = attack.get("pgd_steps")
    return f"PGD, {steps} steps" if steps else "PGD"


def _text(attack: dict[str, Any], classes: Any) -> str:
    """What the figures mean, in sentences."""
    first = attack["by_epsilon"][0]
    epsilon, left = first["epsilon"], min(first["fgsm"], first["pgd"])
    levels = f"{epsilon * _GREY_LEVELS:.0f} of {_GREY_LEVELS} grey levels"
    sentences = [
        f"An attack that changes each value of an image by up to {epsilon:g} ({levels}), so that "
        f"the model errs, leaves {percent(left)} right of {percent(attack['accuracy'])} without it."
    ]
    if left < _FOOLED * attack["accuracy"]:
        sentences.append("So small a change, made on purpose, fools it in most cases.")
    last = attack["by_epsilon"][-1]
    if last is not first:
        worst = min(last["fgsm"], last["pgd"])
        sentences.append(f"At {last['epsilon']:g} it is {percent(worst)}.")
    if classes:
        sentences.append(f"Guessing would be right in {percent(1 / classes)}.")
    sentences.append(
        "Such images do not come about by chance: the attack knows the model. The figures say how "
        "near its answers lie to others, and count where somebody may want it to err."
    )
    return " ".join(sentences)
