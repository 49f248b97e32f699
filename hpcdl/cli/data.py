"""``hpcdl data``: stage data sets and weights, pack folders of images, list and verify them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options
from hpcdl.cli.staged import again, facts, line, packed_line

if TYPE_CHECKING:
    from hpcdl.staging.checksums import Staged
    from hpcdl.staging.pack import Options, Packed

_DATA_ROOT = "Folder of staged sets, instead of the profile's data_root."
_FROM = (
    "Copy this: an .npz file, a folder of IDX files, CIFAR's archive, or an HDF5 file of weights."
)
_MIRROR = "Fetch the files from below this URL, instead of from where Keras does."
_INCLUDE_TOP = "Weights with their 1,000 classes; without: for transfer learning."
_TO = "Make this folder. Default: DATA_ROOT/NAME."
_NAME = "Name for job files, data: {name: NAME}. Default: the folder's own."
_SIZE = "Resize to this height and width in pixels."
_FORMAT = (
    "npy: one array for each part, for images of one size; tfrecord: each image as it is. "
    "Default: npy if possible."
)
_SPLIT = "Share of each class for the test part, if FOLDER has none. Default: 0.2."
_SHARD = "Begin another TFRecord file after that many MB. Default: 200."
_WORKERS = "Processes that decode. Default: the CPUs that this process may use."
_SKIP_BAD = "Leave out images that cannot be used; they are listed anyway."


@dataclass(frozen=True)
class DataPlace:
    """Where staged sets lie: --data-root, else the data_root of --cluster."""

    cluster: str | None
    data_root: str | None


@dataclass(frozen=True)
class PackTarget:
    """Which folder a pack becomes: --to, else --name below data_root."""

    to: Path | None
    name: str | None


@dataclass(frozen=True)
class PackSettings:
    """How images are packed, as the command line says it."""

    size: str | None
    color: str
    test_split: float | None
    storage: str
    shard_mb: float
    workers: int | None
    skip_bad: bool

    def options(self) -> Options:
        """The options of `hpcdl.staging.pack`.

        Raises:
            UserError: the size is not HEIGHTxWIDTH.
        """
        from hpcdl.staging.pack import Options

        return Options(
            _pixels(self.size),
            1 if self.color == "grey" else 3,
            self.test_split,
            self.storage,
            self.shard_mb,
            self.skip_bad,
            self.workers,
        )


_data_place = options.grouped(
    "place",
    DataPlace,
    options.cluster,
    click.option("--data-root", metavar="DIR", type=click.Path(file_okay=False), help=_DATA_ROOT),
)
_pack_target = options.grouped(
    "target",
    PackTarget,
    click.option("--to", "to", metavar="OUT", type=click.Path(path_type=Path), help=_TO),
    click.option("--name", metavar="NAME", help=_NAME),
)
_share = click.FloatRange(0, 1, min_open=True, max_open=True)
_pack_settings = options.grouped(
    "settings",
    PackSettings,
    click.option("--size", metavar="HxW", help=_SIZE),
    click.option(
        "--color", type=click.Choice(["rgb", "grey"]), default="rgb", help="Default: rgb."
    ),
    click.option("--test-split", metavar="SHARE", type=_share, help=_SPLIT),
    click.option(
        "--format",
        "storage",
        type=click.Choice(["auto", "npy", "tfrecord"]),
        default="auto",
        help=_FORMAT,
    ),
    click.option(
        "--shard-mb",
        metavar="MB",
        type=click.FloatRange(0, min_open=True),
        default=200,
        help=_SHARD,
    ),
    click.option("--workers", metavar="N", type=click.IntRange(1, 1024), help=_WORKERS),
    click.option("--skip-bad", is_flag=True, help=_SKIP_BAD),
)


@click.group(short_help="Stage data sets and weights, list and verify them.")
def command() -> None:
    """Stage data sets and weights under data_root, pack images, list and verify them.

    Compute nodes have no internet: a set is put on the shared file system once,
    with its checksums, and jobs name it (data: {name: mnist}).
    """


@command.command("stage", short_help="Put a set or weights under data_root.")
@click.argument("name", metavar="NAME")
@click.option("--from", "source", metavar="FILE|DIR", help=_FROM)
@click.option("--include-top", is_flag=True, help=_INCLUDE_TOP)
@click.option("--mirror", metavar="URL", help=_MIRROR)
@_data_place
def stage_set(
    name: str, source: str | None, include_top: bool, mirror: str | None, place: DataPlace
) -> None:
    """Put a set or weights under data_root; the path is printed.

    \b
    hpcdl data stage mnist                     fetched; so are fashion_mnist, cifar10, cifar100
    hpcdl data stage digits                    1,797 real digits that scikit-learn ships
    hpcdl data stage mine --from my.npz        a file or folder of yours
    hpcdl data stage weights/MobileNetV2       of any keras.applications architecture
    hpcdl data stage weights/VGG16 --include-top

    Files lie as in Keras's own cache: a script's load_data() and
    weights="imagenet" find them. If a fetch is interrupted, run the command
    again: it continues.
    """
    from hpcdl.cli.progress import meter
    from hpcdl.staging.exclusive import Progress
    from hpcdl.staging.stage import stage

    with meter() as shown:
        progress = Progress(shown.say, shown.tell)
        root, copied = _root(place), Path(source) if source else None
        staged = stage(
            name, root, copied, include_top=include_top, mirror=mirror, progress=progress
        )
    options.say(f"staged {name}: {staged.bytes / 1e6:.1f} MB")
    for file, digest in staged.sums.items():
        options.say(f"{digest}  {file}")
    click.echo(staged.path)


@command.command("pack", short_help="Turn a folder of images into a few large files.")
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@_pack_target
@_pack_settings
@_data_place
def pack_folder(folder: Path, target: PackTarget, settings: PackSettings, place: DataPlace) -> None:
    """Turn a folder of images per class into a few large files; the path is printed.

    FOLDER has a folder for each class, or those below train and test.

    \b
    hpcdl data pack signs
    hpcdl data pack signs --size 100x100       one height and width: one array for each part
    hpcdl data pack signs --color grey --test-split 0.1
    hpcdl data pack photos --format tfrecord --skip-bad
    hpcdl data pack signs --to signs.packed    anywhere, for data: {path: signs.packed}

    Every image is decoded once, and becomes upright, 8 bits, of one colour.
    images.jsonl says which images were changed, and how. If some cannot be used,
    all of them are listed, and no pack is made. If it is interrupted, run the
    command again: it continues.
    """
    import time

    from hpcdl.cli.progress import meter
    from hpcdl.staging.exclusive import Progress
    from hpcdl.staging.pack import pack

    begin = time.monotonic()
    path = _pack_path(folder, target, place)
    how = settings.options()
    with meter() as shown:
        packed = pack(folder.absolute(), path, how, Progress(shown.say, shown.tell))
    _say_packed(packed, path, time.monotonic() - begin)
    click.echo(path)


def _say_packed(packed: Packed, path: Path, seconds: float) -> None:
    """Say which images were changed, and what the pack holds."""
    handled = packed.pack["source"]["handled"]
    if handled:
        counts = [f"{count:,} {kind}" for kind, count in sorted(handled.items())]
        options.say(f"handled: {', '.join(counts)} (which, is in {path.name}/images.jsonl)")
    begin = f"packed {path.name}"
    if packed.was_there:
        begin = f"{path.name} is packed already, and unchanged"
    contents = packed_line(packed.pack, packed.source_bytes, path)
    options.say(f"{begin}: {contents}; {seconds:.1f} s")


@command.command("list", short_help="List the staged sets and weights.")
@options.as_json
@_data_place
def list_sets(as_json: bool, place: DataPlace) -> None:
    """List the staged sets and weights: size, checksum, contents, date and source."""
    from hpcdl.staging.catalogue import EMBEDDED, SETS
    from hpcdl.staging.checksums import staged

    root = _root(place)
    entries = [facts(entry) for entry in staged(root) if entry.path.exists()]
    if as_json:
        click.echo(json.dumps({"data_root": str(root), "staged": entries}, indent=2))
        return
    options.say(f"data_root is {root}")
    names = [entry["name"] for entry in entries]
    width = max([16, *map(len, names)])
    for entry in entries:
        click.echo(line(entry, width))
    missing = [name for name in (*EMBEDDED, *SETS) if name not in names]
    if missing:
        options.say(f"not staged: {', '.join(missing)}")


@command.command("verify", short_help="Check whether staged sets and weights are unchanged.")
@click.argument("name", metavar="[NAME]", required=False)
@options.as_json
@_data_place
def verify_sets(name: str | None, as_json: bool, place: DataPlace) -> None:
    """Hash staged files again, and compare with the checksums from when they were staged.

    NAME is a set, weights/ARCHITECTURE or weights/FILE; without it, everything is
    verified. Exit code 1: something changed.
    """
    from hpcdl.staging.checksums import staged

    root = _root(place)
    chosen = _chosen(staged(root), name, root)
    states = _verify(chosen, prints=not as_json)
    changed, unknown = [], []
    for entry in chosen:
        if not entry.sums:
            unknown.append(entry)
        elif set(states[entry.name].values()) != {"ok"}:
            changed.append(entry)
    if as_json:
        content = {
            "data_root": str(root),
            "files": states,
            "changed": [entry.name for entry in changed],
            "no_checksums": [entry.name for entry in unknown],
        }
        click.echo(json.dumps(content, indent=2))
    if not chosen:
        reason = "and nothing is staged there yet" if root.is_dir() else "which does not exist"
        options.say(f"data_root is {root}, {reason}; see hpcdl data stage")
    if unknown:
        why = "no checksums, because hpcdl data stage did not put them there"
        options.say(f"{why}: {_names(unknown)}")
    if changed:
        _refuse(changed, root)


def _verify(entries: Sequence[Staged], prints: bool) -> dict[str, dict[str, str]]:
    """Hash the files of staged sets, showing how far it is.

    Returns:
        by set and by file: ``ok``, or what is wrong.
    """
    from hpcdl.cli.progress import meter
    from hpcdl.staging.checksums import verify

    states = {}
    with meter() as shown:

        def tell(file: Path, hashed_bytes: int) -> None:
            shown.tell(file.name, hashed_bytes, file.stat().st_size)

        for entry in entries:
            states[entry.name] = verify(entry, tell)
            if prints:
                for file, state in states[entry.name].items():
                    click.echo(f"{state:<8} {entry.path.parent / file}")
    return states


def _refuse(changed: Sequence[Staged], root: Path) -> None:
    from hpcdl.errors import HpcdlError

    lines = [f"not what was staged: {_names(changed)}. To put it there again:"]
    for entry in changed:
        lines.append(f"  {again(entry, root)}")
    raise HpcdlError("\n".join(lines))


def _names(entries: Sequence[Staged]) -> str:
    return ", ".join(entry.name for entry in entries)


def _chosen(entries: list[Staged], name: str | None, root: Path) -> list[Staged]:
    """The staged sets that a NAME stands for.

    Raises:
        UserError: it stands for none.
    """
    from hpcdl.errors import UserError
    from hpcdl.staging import WEIGHTS
    from hpcdl.staging.weights import ARCHITECTURES, sources

    if name is None:
        return entries
    names = {name}
    architecture = name.removeprefix(WEIGHTS)
    if architecture in ARCHITECTURES:
        for top in (True, False):
            names |= {WEIGHTS + source.file for source in sources(architecture, top)}
    chosen = [entry for entry in entries if entry.name in names]
    if not chosen:
        raise UserError(f"{name!r} is not under {root}; there is {_names(entries) or 'nothing'}")
    return chosen


def _pack_path(folder: Path, target: PackTarget, place: DataPlace) -> Path:
    """The folder that pack makes.

    Raises:
        UserError: the options contradict each other, or the name cannot be used.
    """
    from hpcdl.errors import UserError
    from hpcdl.job.names import NAME

    if target.to is not None:
        if target.name is not None or place.data_root is not None:
            raise UserError("--to says where; --name and --data-root do the same in another way")
        return target.to.absolute()
    name = target.name or folder.absolute().name
    if not NAME.fullmatch(name):
        expected = "letters, digits, '.', '_' and '-', at most 100, no space"
        raise UserError(f"a set's name has {expected}; got {name!r}")
    root = _root(place)
    if _is_taken(name, root):
        raise UserError(f"{name!r} is the name of another set in {root}; choose one with --name")
    return root / name


def _is_taken(name: str, root: Path) -> bool:
    """Whether a set that is fetched, or a file, has this name."""
    from hpcdl.staging import MODELS, staged_path
    from hpcdl.staging.catalogue import EMBEDDED, SETS

    files = [Path(staged_path("", data_set)).name for data_set in SETS]
    if name in {MODELS, *files, *SETS, *EMBEDDED} or name.endswith(".npz"):
        return True
    return (root / f"{name}.npz").exists()


def _pixels(size: str | None) -> tuple[int, int] | None:
    """The height and width that --size says."""
    import re

    from hpcdl.errors import UserError

    if size is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size)
    if match is None:
        raise UserError(f"--size is a height and a width in pixels, as in 100x150; got {size!r}")
    return int(match[1]), int(match[2])


def _root(place: DataPlace) -> Path:
    """The folder of staged sets.

    It is --data-root, else data_root of the profile that is named or fits this host, else that of
    the profile ``local``.
    """
    from hpcdl.cluster import fitting_cluster, load_cluster, named_cluster
    from hpcdl.errors import UserError

    folder = place.data_root
    if folder is not None:
        if not folder.strip():
            message = "--data-root is empty; expected a folder (is a shell variable not set?)"
            raise UserError(message)
        return Path(folder).absolute()
    profile = named_cluster(place.cluster) or fitting_cluster() or "local"
    return Path(load_cluster(profile).data_root)
