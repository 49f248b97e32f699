"""What a name asks for: the file or folder to stage, and where it can be fetched from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpcdl.contract.idx import find_idx
from hpcdl.errors import UserError
from hpcdl.job.names import NAME
from hpcdl.staging import MODELS, WEIGHTS, staged_path
from hpcdl.staging.catalogue import EMBEDDED, SETS, Source
from hpcdl.staging.weights import ARCHITECTURES, CLASS_INDEX, find_source, sources
from hpcdl.text import did_you_mean, hpcdl_command

# https://docs.hdfgroup.org/hdf5/v1_14/_f_m_t3.html, format signature
_HDF5 = b"\x89HDF\r\n\x1a\n"
_KINDS = {".npz": "an .npz file", ".h5": "an HDF5 file"}  # of a target, by its ending


@dataclass(frozen=True)
class Request:
    """What is to be staged.

    Args:
        name: of the set or weights.
        target: the file or folder that is staged.
        sources: what can be fetched for it; these files lie next to the target.
    """

    name: str
    target: Path
    sources: tuple[Source, ...] = ()

    @property
    def ending(self) -> str:
        """The ending of the target's name; empty for a folder."""
        return self.target.suffix


def find_request(name: str, data_root: Path, include_top: bool, source: Path | None) -> Request:
    """What a name stands for; the arguments are those of `hpcdl.staging.stage.stage`.

    Raises:
        UserError: it stands for nothing; the message says which names are known.
    """
    if name.startswith(WEIGHTS):
        return _weights(name.removeprefix(WEIGHTS), data_root / MODELS, include_top, source)
    if not NAME.fullmatch(name):
        raise UserError(
            "a set's name has letters, digits, '.', '_' and '-', at most 100, no space; "
            f"got {name!r}"
        )
    if include_top:
        raise UserError(f"--include-top is for weights; {name!r} is a data set")
    known_names = [*EMBEDDED, *SETS]
    if source is None and name not in known_names:
        guess = did_you_mean(name, known_names)
        if name in ARCHITECTURES:
            guess = f"; did you mean {WEIGHTS}{name}?"
        raise UserError(f"{name!r} is not a known set{guess}; one of yours is given with --from")
    is_folder = source is not None and source.is_dir()
    if name not in known_names and is_folder and find_idx(str(source)):
        return Request(name, data_root / name)
    return Request(name, Path(staged_path(str(data_root), name)), SETS.get(name, ()))


def _weights(which: str, models: Path, include_top: bool, source: Path | None) -> Request:
    """Weights by architecture, or by the name of one of its files."""
    by_file = find_source(which)
    if by_file is not None:
        _, has_top, chosen = by_file
    elif which in ARCHITECTURES:
        has_top = include_top
        chosen = _of_architecture(which, include_top, source)
    else:
        guess = did_you_mean(which, sorted(ARCHITECTURES))
        raise UserError(
            f"{which!r} is neither an architecture of keras.applications "
            f"nor a file it looks for{guess}"
        )
    files = (chosen, CLASS_INDEX) if has_top else (chosen,)
    return Request(f"{WEIGHTS}{chosen.file}", models / chosen.file, files)


def _of_architecture(architecture: str, include_top: bool, source: Path | None) -> Source:
    """The file of an architecture's weights: the one given, or the one that Keras prefers."""
    choice = sources(architecture, include_top)
    if source is None:
        return choice[0]
    by_name = {candidate.file: candidate for candidate in choice}
    if source.name not in by_name:
        raise UserError(
            f"{source.name} is not a name that Keras looks for; those of {architecture} are: "
            f"{', '.join(by_name)}. To stage it as such: "
            + hpcdl_command("data", "stage", f"{WEIGHTS}{choice[0].file}", "--from", source)
        )
    return by_name[source.name]


def check_source(request: Request, source: Path | None, mirror: str | None) -> None:
    """Check the file or folder to stage, and the address of a mirror.

    Raises:
        UserError: the file is not of the right kind, or the mirror is not a URL.
    """
    if mirror is not None and (source is not None or not request.sources):
        raise UserError(
            f"--mirror says where a known set is fetched from; {request.name} is not fetched"
        )
    if mirror is not None and not mirror.startswith(("http://", "https://")):
        raise UserError(f"--mirror is the beginning of a URL, http:// or https://; got {mirror!r}")
    if source is None:
        return
    if not source.exists():
        raise UserError(f"there is no {source}")
    is_file = request.ending in _KINDS
    if source.is_dir() == is_file:
        kind = _KINDS.get(request.ending, "a folder of IDX files")
        pack = ""
        if request.ending == ".npz":
            pack = f"; a folder of images per class: {hpcdl_command('data', 'pack', source)}"
        raise UserError(f"{source}: {request.name} is staged as {kind}{pack}")
    if request.ending == ".h5" and not is_hdf5(source):
        raise UserError(f"{source} is not an HDF5 file")


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 files do."""
    with path.open("rb") as stream:
        return stream.read(len(_HDF5)) == _HDF5


def url_of(source: Source, mirror: str | None) -> str:
    """Where to fetch a file from: Keras's own address, or the same file name below a mirror's."""
    if mirror is None:
        return source.url
    return f"{mirror.rstrip('/')}/{source.url.rpartition('/')[2]}"


def elsewhere(name: str, include_top: bool, request: Request, data_root: Path) -> str:
    """What to do on a machine without internet."""
    command = f"hpcdl data stage {name}"
    if include_top:
        command += " --include-top"
    what = request.sources[0].url.rpartition("/")[2]
    if request.name == "fashion_mnist":
        what = "FOLDER"
    return (
        "what has arrived is kept, and the same command resumes. "
        "If this machine has no internet:\n"
        f"  stage it on one that has:  {command} --data-root DIR, and copy DIR to {data_root}\n"
        f"  or fetch it by hand:       {command} --from {what} --data-root {data_root}"
    )
