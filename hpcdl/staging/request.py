"""What is asked for by a name: the file or folder that is staged, and where it can be fetched from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpcdl.contract.idx import find_idx
from hpcdl.errors import UserError
from hpcdl.job.names import NAME
from hpcdl.staging import MODELS, WEIGHTS, staged_path
from hpcdl.staging.catalogue import EMBEDDED, SETS, Source
from hpcdl.staging.weights import ARCHITECTURES, CLASS_INDEX, find_source, sources
from hpcdl.text import did_you_mean

_HDF5 = b"\x89HDF\r\n\x1a\n"  # https://docs.hdfgroup.org/hdf5/v1_14/_f_m_t3.html, format signature


@dataclass(frozen=True)
class Wanted:
    """What is to be staged: the name, its file or folder, and what can be fetched for it (sources' files beside it)."""

    name: str
    target: Path
    sources: tuple[Source, ...] = ()


def find_wanted(name: str, data_root: Path, include_top: bool, source: Path | None) -> Wanted:
    """What a name stands for; the arguments are those of `hpcdl.staging.stage.stage`.

    Raises:
        UserError: nothing, with what is known.
    """
    if name.startswith(WEIGHTS):
        return _wanted_weights(name.removeprefix(WEIGHTS), data_root / MODELS, include_top, source)
    if not NAME.fullmatch(name):
        raise UserError(
            f"a set's name has letters, digits, '.', '_' and '-', at most 100, no space; got {name!r}"
        )
    if include_top:
        raise UserError(f"--include-top is for weights; {name!r} is a data set")
    known = [*EMBEDDED, *SETS]
    if source is None and name not in known:
        guess = (
            f"; did you mean {WEIGHTS}{name}?"
            if name in ARCHITECTURES
            else did_you_mean(name, known)
        )
        raise UserError(f"{name!r} is not a known set{guess}; one of yours is given with --from")
    if name not in known and source is not None and source.is_dir() and find_idx(str(source)):
        return Wanted(name, data_root / name)
    return Wanted(name, Path(staged_path(str(data_root), name)), SETS.get(name, ()))


def _wanted_weights(which: str, models: Path, include_top: bool, source: Path | None) -> Wanted:
    """Weights by architecture, or by the name of one of its files."""
    if found := find_source(which):
        _, top, chosen = found
    elif which in ARCHITECTURES:
        top, choice = include_top, sources(which, include_top)
        names = {one.file: one for one in choice}
        if source is not None and source.name not in names:
            raise UserError(
                f"{source.name} is not a name that Keras looks for; those of {which} are: {', '.join(names)}. "
                f"To stage it as such: hpcdl data stage {WEIGHTS}{choice[0].file} --from {source}"
            )
        chosen = choice[0] if source is None else names[source.name]
    else:
        guess = did_you_mean(which, sorted(ARCHITECTURES))
        raise UserError(
            f"{which!r} is neither an architecture of keras.applications nor a file it looks for{guess}"
        )
    return Wanted(
        f"{WEIGHTS}{chosen.file}", models / chosen.file, (chosen, *([CLASS_INDEX] if top else []))
    )


def check_source(wanted: Wanted, source: Path | None, mirror: str | None) -> None:
    """Raise UserError where a file or folder is not what it should be, or a mirror is no URL."""
    if mirror is not None and (source is not None or not wanted.sources):
        raise UserError(
            f"--mirror says where a known set is fetched from; {wanted.name} is not fetched"
        )
    if mirror is not None and not mirror.startswith(("http://", "https://")):
        raise UserError(f"--mirror is the beginning of a URL, http:// or https://; got {mirror!r}")
    if source is None:
        return
    if not source.exists():
        raise UserError(f"there is no {source}")
    is_file = wanted.target.suffix in (".npz", ".h5")
    if source.is_dir() == is_file:
        kind = {".npz": "an .npz file", ".h5": "an HDF5 file"}.get(
            wanted.target.suffix, "a folder of IDX files"
        )
        pack = (
            f"; a folder of images per class: hpcdl data pack {source}"
            if wanted.target.suffix == ".npz"
            else ""
        )
        raise UserError(f"{source}: {wanted.name} is staged as {kind}{pack}")
    if wanted.target.suffix == ".h5" and not is_hdf5(source):
        raise UserError(f"{source} is no HDF5 file")


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 files do."""
    with path.open("rb") as stream:
        return stream.read(len(_HDF5)) == _HDF5


def url_of(source: Source, mirror: str | None) -> str:
    """Where to fetch a file from: Keras's own address, or the same file name below a mirror's."""
    return f"{mirror.rstrip('/')}/{source.url.rpartition('/')[2]}" if mirror else source.url


def elsewhere(name: str, include_top: bool, wanted: Wanted, data_root: Path) -> str:
    """What to do on a machine without internet."""
    command = f"hpcdl data stage {name}{' --include-top' if include_top else ''}"
    what = "FOLDER" if wanted.name == "fashion_mnist" else wanted.sources[0].url.rpartition("/")[2]
    return (
        "what came so far is kept, and the same command goes on from there. If this machine has no internet:\n"
        f"  stage it on one that has:  {command} --data-root DIR, and copy DIR to {data_root}\n"
        f"  or fetch it by hand:       {command} --from {what} --data-root {data_root}"
    )
