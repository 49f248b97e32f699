"""``hpcdl data``: stage data sets and weights, list what is staged, and look whether it is unchanged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli import options

if TYPE_CHECKING:
    from hpcdl.data.manifest import Staged

_DATA_ROOT = "Folder of staged sets, instead of the profile's data_root."
_FROM = "Copy this: an .npz file, a folder of IDX files, CIFAR's archive, or an HDF5 file of weights."
_MIRROR = "Fetch the files from below this URL, instead of from where Keras does."
data_root = click.option("--data-root", metavar="DIR", type=click.Path(file_okay=False), help=_DATA_ROOT)


@click.group(short_help="Stage data sets and weights, list and verify them.")
def command() -> None:
    """Stage data sets and weights under data_root, list and verify them.

    Compute nodes have no internet: a set is put on the shared file system once,
    with its checksums, and jobs name it (data: {name: mnist}).
    """


@command.command("stage", short_help="Put a set or weights under data_root.")
@click.argument("name", metavar="NAME")
@click.option("--from", "source", metavar="FILE|DIR", help=_FROM)
@click.option("--include-top", is_flag=True, help="Weights with their 1,000 classes; without: for transfer learning.")
@click.option("--mirror", metavar="URL", help=_MIRROR)
@options.cluster
@data_root
def stage_set(
    name: str, source: str | None, include_top: bool, mirror: str | None, cluster: str | None, data_root: str | None
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
    from hpcdl.data.staging import Talk, stage

    with meter() as shown:
        talk = Talk(shown.say, shown.tell)
        root, copied = _root(cluster, data_root), Path(source) if source else None
        done = stage(name, root, copied, include_top=include_top, mirror=mirror, talk=talk)
    options.say(f"staged {name}: {done.bytes / 1e6:.1f} MB")
    for file, digest in done.sums.items():
        options.say(f"{digest}  {file}")
    click.echo(done.path)


@command.command("list", short_help="List the staged sets and weights.")
@options.as_json
@options.cluster
@data_root
def list_sets(as_json: bool, cluster: str | None, data_root: str | None) -> None:
    """List the staged sets and weights: size, checksum, contents, when and from where they came."""
    from hpcdl.data.catalogue import EMBEDDED, SETS
    from hpcdl.data.manifest import staged

    root = _root(cluster, data_root)
    found = [one for one in staged(root) if one.path.exists()]
    rows = [_row(one) for one in found]
    if as_json:
        click.echo(json.dumps({"data_root": str(root), "staged": rows}, indent=2))
        return
    options.say(f"data_root is {root}")
    width = max([16, *(len(row["name"]) for row in rows)])
    for row in rows:
        digest = f"{row['sha256'][next(iter(row['sha256']))][:12]}…" if row["sha256"] else "no checksums "
        files = f"{row['files']} file{'s' * (row['files'] != 1)}"
        contents = f"{row['images']:,} images, {row['classes']} classes" if row["images"] else ""
        line = f"{row['name']:<{width}} {row['bytes'] / 1e6:8.1f} MB  {files:<8} {contents:<26} {digest}"
        click.echo(f"{line}  {row['staged'][:10]:<10}  {row['path']}")
    missing = [name for name in (*EMBEDDED, *SETS) if name not in {one.name for one in found}]
    if missing:
        options.say(f"not staged: {', '.join(missing)}")


@command.command("verify", short_help="Look whether staged sets and weights are unchanged.")
@click.argument("name", metavar="[NAME]", required=False)
@options.as_json
@options.cluster
@data_root
def verify_sets(name: str | None, as_json: bool, cluster: str | None, data_root: str | None) -> None:
    """Hash what is staged again, and compare it with the checksums from when it was staged.

    NAME is a set, weights/ARCHITECTURE or weights/FILE; without it everything is
    looked at. Exit code 1: something changed.
    """
    from hpcdl.cli.progress import meter
    from hpcdl.data import how_to_stage
    from hpcdl.data.manifest import staged, verify
    from hpcdl.errors import HpcdlError

    root = _root(cluster, data_root)
    chosen = _chosen(staged(root), name, root)
    states = {}
    with meter() as shown:
        for one in chosen:
            states[one.name] = verify(one, lambda file, done: shown.tell(file.name, done, file.stat().st_size))
            if not as_json:
                for file, state in states[one.name].items():
                    click.echo(f"{state:<8} {one.path.parent / file}")
    unknown = [one.name for one in chosen if not one.sums]
    changed = [one.name for one in chosen if one.sums and set(states[one.name].values()) != {"ok"}]
    if as_json:
        answer = {"data_root": str(root), "files": states, "changed": changed, "no_checksums": unknown}
        click.echo(json.dumps(answer, indent=2))
    if unknown:
        options.say(f"no checksums, for they were not put there by hpcdl data stage: {', '.join(unknown)}")
    if changed:
        again = "".join(f"\n  {how_to_stage(name, str(root))}" for name in changed)
        raise HpcdlError(f"not what was staged: {', '.join(changed)}. To put it there again:{again}")


def _chosen(found: list[Staged], name: str | None, root: Path) -> list[Staged]:
    """What a NAME stands for, among what is staged."""
    from hpcdl.data import WEIGHTS
    from hpcdl.data.weights import ARCHITECTURES, sources
    from hpcdl.errors import UserError

    if name is None:
        return found
    names = {name}
    if (architecture := name.removeprefix(WEIGHTS)) in ARCHITECTURES:
        names |= {WEIGHTS + one.file for top in (True, False) for one in sources(architecture, top)}
    if chosen := [one for one in found if one.name in names]:
        return chosen
    raise UserError(f"{name!r} is not under {root}; there is {', '.join(one.name for one in found) or 'nothing'}")


def _row(one: Staged) -> dict[str, Any]:
    """What ``list`` tells of one set."""
    from hpcdl.data import WEIGHTS
    from hpcdl.preflight.arrays import NAMES, look

    images, classes = None, None
    if not one.name.startswith(WEIGHTS):
        try:
            arrays = look(one.path)
        except OSError:
            arrays = {}
        if all("high" in arrays.get(name, {}) for name in NAMES if name.startswith("y")):
            images = sum(arrays[name]["shape"][0] for name in NAMES if name.startswith("x") and "shape" in arrays[name])
            classes = int(arrays["y_train"]["high"]) + 1
    return {
        "name": one.name,
        "path": str(one.path),
        "bytes": one.bytes,
        "files": len(one.files),
        "images": images,
        "classes": classes,
        "sha256": one.sums,
        "staged": one.when,
        "source": one.source,
    }


def _root(cluster: str | None, data_root: str | None) -> Path:
    from hpcdl.cluster import choose_cluster, load_cluster
    from hpcdl.errors import UserError

    if data_root:
        return Path(data_root).absolute()
    try:
        name = choose_cluster(cluster)
    except UserError:
        name = "local"
    return Path(load_cluster(name).data_root)
