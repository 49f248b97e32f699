"""``hpcdl data``: stage data sets and weights, pack folders of images, list what is there, verify it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options
from hpcdl.cli.staged import again, facts, line, packed_line

if TYPE_CHECKING:
    from hpcdl.staging.checksums import Staged

_DATA_ROOT = "Folder of staged sets, instead of the profile's data_root."
_FROM = (
    "Copy this: an .npz file, a folder of IDX files, CIFAR's archive, or an HDF5 file of weights."
)
_MIRROR = "Fetch the files from below this URL, instead of from where Keras does."
_FORMAT = "npy: one array a part, for images of one size; tfrecord: as they are. Default: npy where it can be."
_SPLIT = "Share of each class for the test part, where FOLDER has none. Default: 0.2."
_SHARD = "Begin another TFRecord file after so many MB. Default: 200."
_WORKERS = "Processes that decode. Default: the CPUs that this process may use."
data_root = click.option(
    "--data-root", metavar="DIR", type=click.Path(file_okay=False), help=_DATA_ROOT
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
@click.option(
    "--include-top",
    is_flag=True,
    help="Weights with their 1,000 classes; without: for transfer learning.",
)
@click.option("--mirror", metavar="URL", help=_MIRROR)
@options.cluster
@data_root
def stage_set(
    name: str,
    source: str | None,
    include_top: bool,
    mirror: str | None,
    cluster: str | None,
    data_root: str | None,
) -> None:
    """Put a set or weights under data_root; the path is printed.

    \b
    hpcdl data stage mnist                     fetched; so are fashion_mnist, cifar10, cifar100
    hpcdl data stage digits                    1,797 real digits that scikit-learn ships
    hpcdl data stage mine --from my.npz        a file or folder of yours
    hpcdl data stage weights/MobileNetV2       of any keras.applications architecture
    hpcdl data stage weights/VGG16 --include-top

    They lie as in Keras's own cache: load_data() and weights="imagenet" of a
    script find them. A fetch that was interrupted goes on where it was.
    """
    from hpcdl.cli.progress import meter
    from hpcdl.staging.exclusive import Talk
    from hpcdl.staging.stage import stage

    with meter() as shown:
        talk = Talk(shown.say, shown.tell)
        root, copied = _root(cluster, data_root), Path(source) if source else None
        done = stage(name, root, copied, include_top=include_top, mirror=mirror, talk=talk)
    options.say(f"staged {name}: {done.bytes / 1e6:.1f} MB")
    for file, digest in done.sums.items():
        options.say(f"{digest}  {file}")
    click.echo(done.path)


@command.command("pack", short_help="Turn a folder of images into a few large files.")
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "to",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="Make this folder. Default: DATA_ROOT/NAME.",
)
@click.option(
    "--name",
    metavar="NAME",
    help="Name for job files, data: {name: NAME}. Default: the folder's own.",
)
@click.option("--size", metavar="HxW", help="Resize to this height and width in pixels.")
@click.option("--color", type=click.Choice(["rgb", "grey"]), default="rgb", help="Default: rgb.")
@click.option(
    "--test-split",
    metavar="SHARE",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help=_SPLIT,
)
@click.option(
    "--format",
    "storage",
    type=click.Choice(["auto", "npy", "tfrecord"]),
    default="auto",
    help=_FORMAT,
)
@click.option(
    "--shard-mb", metavar="MB", type=click.FloatRange(0, min_open=True), default=200, help=_SHARD
)
@click.option("--workers", metavar="N", type=click.IntRange(1, 1024), help=_WORKERS)
@click.option(
    "--skip-bad", is_flag=True, help="Leave out what cannot be used; it is listed all the same."
)
@options.cluster
@data_root
def pack_folder(
    folder: Path,
    to: Path | None,
    name: str | None,
    size: str | None,
    color: str,
    test_split: float | None,
    storage: str,
    shard_mb: float,
    workers: int | None,
    skip_bad: bool,
    cluster: str | None,
    data_root: str | None,
) -> None:
    """Turn a folder of images per class into a few large files; the path is printed.

    \b
    hpcdl data pack signs                      a folder for each class, or those below train and test
    hpcdl data pack signs --size 100x100       all of one height and width: one array a part
    hpcdl data pack signs --color grey --test-split 0.1
    hpcdl data pack photos --format tfrecord --skip-bad
    hpcdl data pack signs --to signs.packed    anywhere, for data: {path: signs.packed}

    Every image is decoded once: upright, 8 bits, of one colour. What was done to
    which is in images.jsonl; those that cannot be used are all listed, and then
    nothing is put in place. When it was interrupted, the same command goes on.
    """
    import time

    from hpcdl.cli.progress import meter
    from hpcdl.staging.exclusive import Talk
    from hpcdl.staging.pack import Options, pack

    begin = time.monotonic()
    target = _pack_target(folder, to, name, cluster, data_root)
    chosen = Options(
        _pixels(size), 1 if color == "grey" else 3, test_split, storage, shard_mb, skip_bad, workers
    )
    with meter() as shown:
        done = pack(folder.absolute(), target, chosen, Talk(shown.say, shown.tell))
    handled = done.pack["source"]["handled"]
    if handled:
        counts = [f"{count:,} {kind}" for kind, count in sorted(handled.items())]
        options.say(f"handled: {', '.join(counts)} (which, is in {target.name}/images.jsonl)")
    begins = f"packed {target.name}"
    if done.was_there:
        begins = f"{target.name} is packed already, and unchanged"
    seconds = f"{time.monotonic() - begin:.1f} s"
    options.say(f"{begins}: {packed_line(done.pack, done.source_bytes, target)}; {seconds}")
    click.echo(target)


@command.command("list", short_help="List the staged sets and weights.")
@options.as_json
@options.cluster
@data_root
def list_sets(as_json: bool, cluster: str | None, data_root: str | None) -> None:
    """List the staged sets and weights: size, checksum, contents, when and from where they came."""
    from hpcdl.staging.catalogue import EMBEDDED, SETS
    from hpcdl.staging.checksums import staged

    root = _root(cluster, data_root)
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


@command.command("verify", short_help="Look whether staged sets and weights are unchanged.")
@click.argument("name", metavar="[NAME]", required=False)
@options.as_json
@options.cluster
@data_root
def verify_sets(
    name: str | None, as_json: bool, cluster: str | None, data_root: str | None
) -> None:
    """Hash what is staged again, and compare it with the checksums from when it was staged.

    NAME is a set, weights/ARCHITECTURE or weights/FILE; without it everything is
    looked at. Exit code 1: something changed.
    """
    from hpcdl.cli.progress import meter
    from hpcdl.errors import HpcdlError
    from hpcdl.staging.checksums import staged, verify

    root = _root(cluster, data_root)
    chosen = _chosen(staged(root), name, root)
    states = {}
    with meter() as shown:
        for entry in chosen:

            def tell(file: Path, done: int) -> None:
                shown.tell(file.name, done, file.stat().st_size)

            states[entry.name] = verify(entry, tell)
            if not as_json:
                for file, state in states[entry.name].items():
                    click.echo(f"{state:<8} {entry.path.parent / file}")
    unknown = [entry.name for entry in chosen if not entry.sums]
    changed = []
    for entry in chosen:
        if entry.sums and set(states[entry.name].values()) != {"ok"}:
            changed.append(entry.name)
    if as_json:
        answer = {
            "data_root": str(root),
            "files": states,
            "changed": changed,
            "no_checksums": unknown,
        }
        click.echo(json.dumps(answer, indent=2))
    if not chosen:
        what = "and nothing is staged there yet" if root.is_dir() else "which is not there"
        options.say(f"data_root is {root}, {what}; see hpcdl data stage")
    if unknown:
        options.say(
            f"no checksums, for they were not put there by hpcdl data stage: {', '.join(unknown)}"
        )
    if changed:
        remedies = [f"\n  {again(entry, root)}" for entry in chosen if entry.name in changed]
        message = f"not what was staged: {', '.join(changed)}. To put it there again:"
        raise HpcdlError(message + "".join(remedies))


def _chosen(entries: list[Staged], name: str | None, root: Path) -> list[Staged]:
    """The staged sets that a NAME stands for."""
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
    if chosen:
        return chosen
    there = ", ".join(entry.name for entry in entries)
    raise UserError(f"{name!r} is not under {root}; there is {there or 'nothing'}")


def _pack_target(
    folder: Path,
    to: Path | None,
    name: str | None,
    cluster: str | None,
    data_root: str | None,
) -> Path:
    """The folder that pack makes."""
    from hpcdl.errors import UserError

    if to is not None:
        if name is not None or data_root is not None:
            raise UserError("--to says where; --name and --data-root do the same in another way")
        return to.absolute()
    from hpcdl.job.names import NAME
    from hpcdl.staging import MODELS, staged_path
    from hpcdl.staging.catalogue import EMBEDDED, SETS

    name = name or folder.absolute().name
    if not NAME.fullmatch(name):
        expected = "letters, digits, '.', '_' and '-', at most 100, no space"
        raise UserError(f"a set's name has {expected}; got {name!r}")
    root = _root(cluster, data_root)
    files = [Path(staged_path("", data_set)).name for data_set in SETS]
    taken = {MODELS, *files, *SETS, *EMBEDDED}
    if name in taken or name.endswith(".npz") or (root / f"{name}.npz").exists():
        raise UserError(f"{name!r} is the name of another set in {root}; choose one with --name")
    return root / name


def _pixels(size: str | None) -> tuple[int, int] | None:
    import re

    from hpcdl.errors import UserError

    if size is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size)
    if match is None:
        raise UserError(f"--size is a height and a width in pixels, as in 100x150; got {size!r}")
    return int(match[1]), int(match[2])


def _root(cluster: str | None, data_root: str | None) -> Path:
    """Where data lie: --data-root, or the profile's that is named or fits this host, or local's."""
    from hpcdl.cluster import fitting_cluster, load_cluster, named_cluster
    from hpcdl.errors import UserError

    if data_root is not None:
        if not data_root.strip():
            raise UserError(
                "--data-root is empty; expected a folder (is a shell variable not set?)"
            )
        return Path(data_root).absolute()
    return Path(load_cluster(named_cluster(cluster) or fitting_cluster() or "local").data_root)
