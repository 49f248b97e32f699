"""The rows of predictions.csv and unusable.csv, which a container and this machine write alike.

`header` and `row` make predictions.csv: file, answer, confidence, notes, and a column for each
class. `UNUSABLE_HEADER` and `unusable_row` make unusable.csv: file, why. `writer` writes rows.

A file's name is one line of printable UTF-8, whatever bytes it has (`file_names.shown`). A text
that a spreadsheet would take for a formula gets something harmless in front: a file ``./``, so
that it is the same path, any other text an apostrophe.
Source: https://owasp.org/www-community/attacks/CSV_Injection.
"""

from __future__ import annotations

import csv
from typing import Any, List, Sequence, TextIO

from hpcdl.contract.file_names import shown

COLUMNS = ("file", "answer", "confidence", "notes")
UNUSABLE_HEADER = ("file", "why")
_FORMULA = ("=", "+", "-", "@")  # tabs and line ends, too, but `shown` leaves none
_DIGITS = 6


def writer(stream: TextIO) -> Any:
    """A csv.writer whose lines end with ``\\n``; open the stream with ``newline=""``."""
    return csv.writer(stream, lineterminator="\n")


def header(class_names: Sequence[str]) -> List[str]:
    """The first line of predictions.csv.

    A class whose name is that of another column has the column ``class NAME``.
    """
    names = list(COLUMNS)
    for class_name in class_names:
        name = _harmless(class_name, "'")
        names.append("class {}".format(name) if name in COLUMNS else name)
    return names


def row(
    file: str, probabilities: Sequence[float], class_names: Sequence[str], notes: Sequence[str]
) -> List[str]:
    """A line of predictions.csv.

    Args:
        file: the path below the folder of images.
        probabilities: one a class.
        class_names: in the order of the classes.
        notes: about the image; most images have none.
    """
    values = ["{:.{}f}".format(probability, _DIGITS) for probability in probabilities]
    answer = max(range(len(values)), key=lambda label: probabilities[label])
    texts = [class_names[answer], "; ".join(notes)]
    name, note = [_harmless(text, "'") for text in texts]
    return [_harmless(file, "./"), name, values[answer], note, *values]


def unusable_row(file: str, why: str) -> List[str]:
    """A line of unusable.csv: the path below the folder of images, and the reason."""
    return [_harmless(file, "./"), _harmless(why, "'")]


def _harmless(text: str, before: str) -> str:
    """A text on one line that no spreadsheet takes for a formula."""
    line = shown(text)
    if not line.startswith(_FORMULA) or _is_number(line):
        return line
    return before + line


def _is_number(text: str) -> bool:
    """Whether a text is a number, such as the class ``-1``."""
    try:
        float(text)
    except ValueError:
        return False
    return True
