"""export.json as records: what a run's model was exported as, and what was measured."""

from __future__ import annotations

from dataclasses import dataclass

from hpcdl.files import read_json
from hpcdl.run import kinds
from hpcdl.run.kinds import Record
from hpcdl.run.paths import RunPaths

_MEMBER = kinds.object_with({"run": kinds.text, "file": kinds.text}, {"sha256": kinds.text})
_MADE = kinds.object_with(
    {"kind": kinds.text, "file": kinds.text, "bytes": kinds.whole},
    {
        "gzip": kinds.or_none(kinds.whole),
        "sha256": kinds.text,
        "rows": kinds.whole,
        "accuracy": kinds.or_none(kinds.finite),
        "agreement": kinds.or_none(kinds.finite),
        "difference": kinds.or_none(kinds.amount),
        "ms": kinds.or_none(kinds.amount),
        "threads": kinds.whole,
        "members": kinds.list_of(_MEMBER),
        "seconds": kinds.or_none(kinds.amount),
        "why_not_again": kinds.text,
    },
)
_MEASURED = (
    *("gzip", "rows", "accuracy", "agreement", "difference", "ms", "threads"),
    *("sha256", "why_not_again"),
)
_REFUSED = kinds.object_with({"kind": kinds.text, "why": kinds.text})


@dataclass(frozen=True)
class Exported:
    """One kind that a model was exported as, or could not be.

    Args:
        kind: its name, such as int8.
        why: why it was not made; empty if it was.
        file: the file or folder, relative to the folder of exports.
        bytes: its size.
        gzip: its size with each file compressed.
        rows: the test images on which it was measured.
        accuracy: its share of right answers on these.
        agreement: the share of these with the answer of the trained model.
        difference: the largest one of a probability between both.
        ms: milliseconds for one image.
        threads: that it took for this; 0 for those that TensorFlow chose.
        why_not_again: why it could not be made anew later; this is still the older one.
        members: of a mean, each model with its ``run``, its ``file`` there and its ``sha256``.
        sha256: the hash of the file.
    """

    kind: str
    why: str = ""
    file: str = ""
    bytes: int | None = None
    gzip: int | None = None
    rows: int | None = None
    accuracy: float | None = None
    agreement: float | None = None
    difference: float | None = None
    ms: float | None = None
    threads: int | None = None
    why_not_again: str = ""
    members: tuple[Record, ...] = ()
    sha256: str = ""


def read_exported(paths: RunPaths, mean: str = "") -> list[Exported]:
    """The kinds that a run's model was exported as; none if it was not exported.

    Args:
        paths: the run's.
        mean: the name of a mean of its model and others', which is then meant.
    """
    content = read_json(paths.export_table_of(mean)) or {}
    rows = content.get("kinds")
    exported = []
    for row in rows if isinstance(rows, list) else []:
        made, refused = kinds.usable(row, _MADE), kinds.usable(row, _REFUSED)
        if made is not None:
            exported.append(_of(made))
        elif refused is not None:
            exported.append(Exported(refused["kind"], refused["why"]))
    return exported


def _of(row: Record) -> Exported:
    measured = {name: row[name] for name in _MEASURED if name in row}
    members = tuple(row.get("members", ()))
    return Exported(row["kind"], "", row["file"], row["bytes"], members=members, **measured)
