"""Brings data sets and weights under data_root, whole or not at all, each with its checksums beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

from hpcdl.contract.idx import STANDARD, IdxFiles, find_idx
from hpcdl.errors import HpcdlError, UserError
from hpcdl.files import sha256_file
from hpcdl.staging import cifar
from hpcdl.staging.catalogue import EMBEDDED
from hpcdl.staging.checksums import Staged, read_staged, verify
from hpcdl.staging.exclusive import Talk, alone, move_in
from hpcdl.staging.fetch import fetch, mismatch
from hpcdl.staging.request import Wanted, check_source, elsewhere, find_wanted, is_hdf5, url_of


def stage(
    name: str,
    data_root: Path,
    source: Path | None = None,
    *,
    include_top: bool = False,
    mirror: str | None = None,
    talk: Talk | None = None,
) -> Staged:
    """Stage a set or weights; what is there, unchanged, is not fetched again.

    Args:
        name: for job files (``data: {name: ...}``), or ``weights/`` and an architecture or a file that Keras looks for.
        data_root: the shared folder of staged sets; made if need be.
        source: a file or folder to copy: an ``.npz`` file, a folder of IDX files, CIFAR's archive, an HDF5 file of
            weights; None for an embedded set, or to fetch it.
        include_top: of weights by architecture, those with the 1,000 classes.
        mirror: a URL below which the files lie, instead of where Keras fetches them.
        talk: whom to tell how far it is.

    Raises:
        UserError: what is asked for is not known, or source is not what it should be.
        HpcdlError: it cannot be fetched or written.
    """
    talk = talk or Talk()
    wanted = find_wanted(name, data_root, include_top, source)
    check_source(wanted, source, mirror)
    folder = wanted.target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(
            wanted.target, fetches := source is None and bool(wanted.sources), talk
        ) as aside:
            if not fetches:
                files = _copy(wanted, source, aside, talk) if source else _embedded(wanted, aside)
                origin = str(source.absolute()) if source else EMBEDDED[name]
            elif _is_there(wanted, there := read_staged(data_root, wanted.target)):
                talk.say(f"{name} is staged already, and unchanged")
                return there
            else:
                files = _fetch(wanted, mirror, aside, talk)
                origin = url_of(wanted.sources[0], mirror)
            move_in(
                wanted.target, aside, {file: sha256_file(aside / file) for file in files}, origin
            )
    except ConnectionError as error:
        raise HpcdlError(f"{error}\n{elsewhere(name, include_top, wanted, data_root)}") from error
    except OSError as error:
        where = f"{error.filename or folder}: {error.strerror or error}"
        raise HpcdlError(f"cannot stage {name}: {where}; data_root is {data_root}") from error
    return read_staged(data_root, wanted.target)


def _is_there(wanted: Wanted, there: Staged) -> bool:
    """Whether all that would be fetched is there, as it was staged and as it is published."""
    if any(one.file not in there.sums for one in wanted.sources):
        return False
    if set(verify(there, lambda file, done: None).values()) != {"ok"}:
        return False
    return all(mismatch(there.path.parent / one.file, one.digest) is None for one in wanted.sources)


def _embedded(wanted: Wanted, aside: Path) -> list[str]:
    from hpcdl.staging.digits import write_digits

    write_digits(aside / wanted.target.name)
    return [wanted.target.name]


def _copy(wanted: Wanted, source: Path, aside: Path, talk: Talk) -> list[str]:
    """Copy what the user has; a CIFAR archive is treated as if it had been fetched."""
    name = wanted.target.name
    if wanted.name in cifar.LAYOUTS and source.suffix in (".gz", ".tgz"):
        if wrong := mismatch(source, wanted.sources[0].digest):
            raise UserError(f"{source} is not {wanted.name}'s archive as it is published: {wrong}")
        shutil.copyfile(source, aside / wanted.sources[0].file)
        return _unpack_cifar(wanted, aside, talk)
    if source.is_dir():
        (aside / name).mkdir(exist_ok=True)
        idx = find_idx(str(source))
        if idx is not None and not idx.wrong:
            return _copy_idx(idx, aside / name)
        files = [f"{name}/{path.name}" for path in sorted(source.iterdir()) if path.is_file()]
        for file in files:
            shutil.copyfile(source / Path(file).name, aside / file)
        return files
    shutil.copyfile(source, aside / name)
    if any(
        one.file == name and one.digest and mismatch(source, one.digest) for one in wanted.sources
    ):
        talk.say(
            f"{source.name} has not the checksum that Keras publishes: hpcdl reads it, but a script's own load_data() "
            "or weights='imagenet' would want to fetch it again"
        )
    elif wanted.name in cifar.LAYOUTS:
        talk.say(
            f"a script's own load_data() also needs the archive: --from {wanted.sources[0].url.rpartition('/')[2]}"
        )
    return [name]


def _copy_idx(idx: IdxFiles, target: Path) -> list[str]:
    """Copy IDX files under their standard names, which Keras looks for."""
    names = []
    for array, path in sorted(idx.paths.items()):
        ending = ".gz" if path.lower().endswith(".gz") else ""
        shutil.copyfile(path, target / f"{STANDARD[array]}{ending}")
        names.append(f"{target.name}/{STANDARD[array]}{ending}")
    return names


def _fetch(wanted: Wanted, mirror: str | None, aside: Path, talk: Talk) -> list[str]:
    for one in wanted.sources:
        target = aside / one.file
        target.parent.mkdir(exist_ok=True)
        if target.exists() and one.digest and mismatch(target, one.digest) is None:
            continue  # an earlier attempt came so far

        def tell(done: int, total: int | None, file: str = target.name) -> None:
            talk.tell(file, done, total)

        fetch(one, url_of(one, mirror), target, tell, talk.say)
        if target.suffix == ".h5" and not is_hdf5(target):
            target.unlink()
            raise HpcdlError(f"{url_of(one, mirror)} gave no HDF5 file")
    if wanted.name in cifar.LAYOUTS:
        return _unpack_cifar(wanted, aside, talk)
    return [one.file for one in reversed(wanted.sources)]


def _unpack_cifar(wanted: Wanted, aside: Path, talk: Talk) -> list[str]:
    """Beside the archive: the .npz file for hpcdl, and the name by which Keras 3 looks for the archive."""
    archive, link = wanted.sources[0].file, cifar.LAYOUTS[wanted.name].link
    talk.say(f"{archive} -> {wanted.target.name}")
    cifar.convert(wanted.name, aside / archive, aside / wanted.target.name)
    (aside / link).unlink(missing_ok=True)
    (aside / link).symlink_to(archive)
    return [archive, link, wanted.target.name]
