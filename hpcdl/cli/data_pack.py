"""``hpcdl data pack``: turn a folder of images into a few large files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli import options
from hpcdl.cli.data_place import DataPlace, data_place, data_root
from hpcdl.formats import several

if TYPE_CHECKING:
    from hpcdl.staging.pack import Options, Packed

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


@click.command("pack", short_help="Turn a folder of images into a few large files.")
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@_pack_target
@_pack_settings
@data_place
def command(folder: Path, target: PackTarget, settings: PackSettings, place: DataPlace) -> None:
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
    contents = _packed_line(packed.pack, packed.source_bytes, path)
    options.say(f"{begin}: {contents}; {seconds:.1f} s")


def _packed_line(pack: dict[str, Any], source_bytes: int, folder: Path) -> str:
    """What a pack holds, and its size before and after.

    Args:
        pack: the content of its pack.json.
        source_bytes: the size of the images that it is made from.
        folder: the pack.
    """
    shape = "x".join(map(str, [*(pack["image_size"] or ()), pack["channels"]]))
    if not pack["image_size"]:
        shape = f"any size, {several(pack['channels'], 'channel')}"
    train, test = pack["parts"]["train"]["rows"], pack["parts"]["test"]["rows"]
    images = f"{train:,} training and {test:,} test images of {shape}"
    sizes = [file.stat().st_size for file in folder.iterdir() if file.is_file()]
    before = f"{pack['source']['images']:,} files, {source_bytes / 1e6:.1f} MB"
    after = f"{len(sizes)} files, {sum(sizes) / 1e6:.1f} MB"
    return f"{images}, {len(pack['classes'])} classes; {before} -> {after}"


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
    root = data_root(place)
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
