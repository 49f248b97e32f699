"""Brings data sets and weights under data_root, completely or not at all, with their checksums."""

from __future__ import annotations

import shutil
from pathlib import Path

from hpcdl.contract.idx import STANDARD, IdxFiles, find_idx
from hpcdl.errors import HpcdlError, UserError
from hpcdl.files import sha256_file
from hpcdl.staging import cifar
from hpcdl.staging.catalogue import EMBEDDED
from hpcdl.staging.checksums import Staged, read_staged, verify
from hpcdl.staging.exclusive import Progress, alone, move_in
from hpcdl.staging.fetch import fetch, mismatch
from hpcdl.staging.request import Request, check_source, elsewhere, find_request, is_hdf5, url_of


def stage(
    name: str,
    data_root: Path,
    source: Path | None = None,
    *,
    include_top: bool = False,
    mirror: str | None = None,
    progress: Progress | None = None,
) -> Staged:
    """Stage a set or weights; what is there, unchanged, is not fetched again.

    Args:
        name: for job files (``data: {name: ...}``), or ``weights/`` and an architecture or a file
            that Keras looks for.
        data_root: the shared folder of staged sets; made if need be.
        source: a file or folder to copy: an ``.npz`` file, a folder of IDX files, CIFAR's archive,
            an HDF5 file of weights; None for an embedded set, or to fetch it.
        include_top: of weights by architecture, those with the 1,000 classes.
        mirror: a URL below which the files lie, instead of where Keras fetches them.
        progress: callbacks.

    Raises:
        UserError: the name is not known, or source is not of the right kind.
        HpcdlError: it cannot be fetched or written.
    """
    progress = progress or Progress()
    request = find_request(name, data_root, include_top, source)
    check_source(request, source, mirror)
    folder = request.target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if source is None and request.sources:
            _stage_fetched(request, data_root, mirror, progress)
        else:
            _stage_copied(request, source, progress)
    except ConnectionError as error:
        raise HpcdlError(f"{error}\n{elsewhere(name, include_top, request, data_root)}") from error
    except OSError as error:
        where = f"{error.filename or folder}: {error.strerror or error}"
        raise HpcdlError(f"cannot stage {name}: {where}; data_root is {data_root}") from error
    return read_staged(data_root, request.target)


def _stage_fetched(
    request: Request, data_root: Path, mirror: str | None, progress: Progress
) -> None:
    with alone(request.target, keeps=True, progress=progress) as aside:
        if _is_there(request, read_staged(data_root, request.target)):
            progress.say(f"{request.name} is staged already, and unchanged")
            return
        files = _fetch(request, mirror, aside, progress)
        sums = {file: sha256_file(aside / file) for file in files}
        move_in(request.target, aside, sums, url_of(request.sources[0], mirror))


def _stage_copied(request: Request, source: Path | None, progress: Progress) -> None:
    """Stage what the user has, or an embedded set."""
    with alone(request.target, keeps=False, progress=progress) as aside:
        if source is None:
            files = _embedded(request, aside)
            origin = EMBEDDED[request.name]
        else:
            files = _copy(request, source, aside, progress)
            origin = str(source.absolute())
        sums = {file: sha256_file(aside / file) for file in files}
        move_in(request.target, aside, sums, origin)


def _is_there(request: Request, entry: Staged) -> bool:
    """Whether all that would be fetched is there, as it was staged and as it is published."""
    if any(source.file not in entry.sums for source in request.sources):
        return False
    states = verify(entry, lambda file, read_bytes: None)
    if set(states.values()) != {"ok"}:
        return False
    folder = entry.path.parent
    return all(mismatch(folder / source.file, source.digest) is None for source in request.sources)


def _embedded(request: Request, aside: Path) -> list[str]:
    from hpcdl.staging.digits import write_digits

    write_digits(aside / request.target.name)
    return [request.target.name]


def _copy(request: Request, source: Path, aside: Path, progress: Progress) -> list[str]:
    """Copy what the user has; a CIFAR archive is treated as if it had been fetched.

    Returns:
        the files that were made, below the folder.
    """
    name = request.target.name
    if request.name in cifar.LAYOUTS and source.suffix in (".gz", ".tgz"):
        problem = mismatch(source, request.sources[0].digest)
        if problem:
            raise UserError(
                f"{source} is not {request.name}'s archive as it is published: {problem}"
            )
        shutil.copyfile(source, aside / request.sources[0].file)
        return _unpack_cifar(request, aside, progress)
    if source.is_dir():
        return _copy_folder(source, aside / name)
    shutil.copyfile(source, aside / name)
    if _differs_from_published(request, source):
        progress.say(
            f"{source.name} does not have the checksum that Keras publishes: hpcdl reads it, but "
            "a script's own load_data() or weights='imagenet' would want to fetch it again"
        )
    elif request.name in cifar.LAYOUTS:
        archive = request.sources[0].url.rpartition("/")[2]
        progress.say(f"a script's own load_data() also needs the archive: --from {archive}")
    return [name]


def _differs_from_published(request: Request, source: Path) -> bool:
    """Whether a file is not the one that Keras would fetch under the target's name."""
    for published in request.sources:
        if published.file == request.target.name and published.digest:
            return mismatch(source, published.digest) is not None
    return False


def _copy_folder(source: Path, target: Path) -> list[str]:
    """Copy the files of a folder; complete IDX files get their standard names."""
    target.mkdir(exist_ok=True)
    idx = find_idx(str(source))
    if idx is not None and not idx.problems:
        return _copy_idx(idx, target)
    files = []
    for path in sorted(source.iterdir()):
        if path.is_file():
            shutil.copyfile(path, target / path.name)
            files.append(f"{target.name}/{path.name}")
    return files


def _copy_idx(idx: IdxFiles, target: Path) -> list[str]:
    """Copy IDX files under their standard names, which Keras looks for."""
    files = []
    for array, path in sorted(idx.paths.items()):
        ending = ".gz" if path.lower().endswith(".gz") else ""
        shutil.copyfile(path, target / f"{STANDARD[array]}{ending}")
        files.append(f"{target.name}/{STANDARD[array]}{ending}")
    return files


def _fetch(request: Request, mirror: str | None, aside: Path, progress: Progress) -> list[str]:
    """Fetch the files of a set or weights.

    Returns:
        the files that were made, below the folder.
    """
    for source in request.sources:
        target = aside / source.file
        target.parent.mkdir(exist_ok=True)
        if target.exists() and source.digest and mismatch(target, source.digest) is None:
            continue  # an earlier attempt fetched it

        def tell(done: int, total: int | None, file: str = target.name) -> None:
            progress.tell(file, done, total)

        fetch(source, url_of(source, mirror), target, tell, progress.say)
        if target.suffix == ".h5" and not is_hdf5(target):
            target.unlink()
            raise HpcdlError(f"{url_of(source, mirror)} did not give an HDF5 file")
    if request.name in cifar.LAYOUTS:
        return _unpack_cifar(request, aside, progress)
    return [source.file for source in reversed(request.sources)]


def _unpack_cifar(request: Request, aside: Path, progress: Progress) -> list[str]:
    """Make the .npz file for hpcdl, and the link by which Keras 3 looks for the archive.

    Returns:
        the archive, the link and the .npz file, below the folder.
    """
    archive, link = request.sources[0].file, cifar.LAYOUTS[request.name].link
    progress.say(f"{archive} -> {request.target.name}")
    cifar.convert(request.name, aside / archive, aside / request.target.name)
    (aside / link).unlink(missing_ok=True)
    (aside / link).symlink_to(archive)
    return [archive, link, request.target.name]
