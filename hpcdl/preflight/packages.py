"""What a job has beside its image: its packages are installed for this image, its folders hide nothing of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from hpcdl.cache import cached_sha256
from hpcdl.packages import manifest, others
from hpcdl.planning import Plan
from hpcdl.preflight import Finding, Note, Subject

_OF_THE_IMAGE = ("tensorflow", "keras", "numpy")


def packages(subject: Subject) -> Iterator[Finding | Note]:
    """The overlay is there, and no folder of ``pythonpath`` has a TensorFlow of its own.

    What an overlay has of the image's own is refused when it is built; where TensorFlow, Keras and numpy are imported
    from, the image itself is asked.
    """
    decided = subject.plan
    made = manifest(decided)
    if made is not None:
        told = ", ".join(f"{name} {version}" for name, version in sorted(made["packages"].items()))
        yield Note(f"beside the image: {told or 'nothing, the image has all of it'}")
    elif decided.overlay is not None:  # else the image is not here, as its check says
        cause = f"{subject.job.packages} is not installed for {decided.image}{_what_else(subject)}"
        job = os.path.join(subject.job.folder, os.path.basename(decided.source))
        yield Finding(
            cause, f"hpcdl env build {job}, with this --cluster and --set", "job", "packages"
        )
    for i, folder in enumerate(decided.pythonpath):
        for name in _OF_THE_IMAGE:
            if Path(folder, f"{name}.py").exists() or Path(folder, name, "__init__.py").exists():
                wrong = f"{folder} has a {name} of its own, which would be imported in place of the image's"
                yield Finding(
                    wrong,
                    "leave it to the image: remove or rename it there",
                    "job",
                    f"pythonpath[{i}]",
                )


def is_missing(decided: Plan) -> bool:
    """Whether packages are to be there that are not: what they bring cannot be looked for."""
    return bool(decided.requirements) and manifest(decided) is None


def _what_else(subject: Subject) -> str:
    """Of the overlays that are there, the one that comes closest, and in what it differs."""
    decided = subject.plan
    sha256 = cached_sha256(Path(decided.image or ""))
    for made in others(decided, subject.cluster):
        had, wanted = set(made["requirements"]), set(decided.requirements)
        if made["image"]["sha256"] == sha256 and had != wanted:
            new = f"; {', '.join(sorted(wanted - had))} came since" if wanted - had else ""
            gone = f"; {', '.join(sorted(had - wanted))} left since" if had - wanted else ""
            return f" (other requirements are{new}{gone})"
        if made["image"]["path"] == decided.image and had == wanted:
            return f" (it is for another image of that name, {made['image']['sha256'][:12]}; this one is {sha256[:12]})"
    return ""
