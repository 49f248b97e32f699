"""What ``hpcdl result`` prints of a prediction."""

from __future__ import annotations

from typing import Any

from hpcdl.formats import several

_MOST_ANSWERS = 10


def prediction_details(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Its images, its answers and the verdicts on them, as (name, text); none of another run."""
    if "images" not in result:
        return []
    from hpcdl.report.predicted import verdict_lines

    folder = result.get("folder", "a folder")
    text = f"{several(result['images'], 'image')} of {folder}"
    if result.get("unusable"):
        text += f"; {several(result['unusable'], 'file')} could not be used: unusable.csv"
    details = [("images", text)]
    if result.get("answers"):
        details.append(("answers", _answers(result["answers"])))
    details += verdict_lines(result)
    if "images_per_s" in result:
        details.append(("speed", f"{result['images_per_s']:,.1f} images/s"))
    for root in result.get("runs") or []:
        details.append(("model of", root))
    return details


def _answers(counts: dict[str, int]) -> str:
    """The classes that were the answer, the most frequent one first."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    texts = [f"{name} {count:,}" for name, count in ordered if count]
    if len(texts) > _MOST_ANSWERS:
        texts = [*texts[:_MOST_ANSWERS], f"and {several(len(texts) - _MOST_ANSWERS, 'class')}"]
    return ", ".join(texts)
