"""``hpcdl data``: stage data sets and weights, list and verify them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcdl.cli import data_pack, options
from hpcdl.cli.data_place import DataPlace, data_place, data_root
from hpcdl.cli.staged import again, facts, line

if TYPE_CHECKING:
    from hpcdl.staging.checksums import Staged

_FROM = (
    "Copy this: an .npz file, a folder of IDX files, CIFAR's archive, or an HDF5 file of weights."
)
_MIRROR = "Fetch the files from below this URL, instead of from where Keras does."
_INCLUDE_TOP = "Weights with their 1,000 classes; without: for transfer learning."


@click.group(short_help="Stage data sets and weights, list and verify them.")
def command() -> None:
    """Stage data sets and weights under data_root, pack images, list and verify them.

    Compute nodes have no internet: a set is put on the shared file system once,
    with its checksums, and jobs name it (data: {name: mnist}).
    """


command.add_command(data_pack.command)


@command.command("stage", short_help="Put a set or weights under data_root.")
@click.argument("name", metavar="NAME")
@click.option("--from", "source", metavar="FILE|DIR", help=_FROM)
@click.option("--include-top", is_flag=True, help=_INCLUDE_TOP)
@click.option("--mirror", metavar="URL", help=_MIRROR)
@data_place
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
        root, copied = data_root(place), Path(source) if source else None
        staged = stage(
            name, root, copied, include_top=include_top, mirror=mirror, progress=progress
        )
    options.say(f"staged {name}: {staged.bytes / 1e6:.1f} MB")
    for file, digest in staged.sums.items():
        options.say(f"{digest}  {file}")
    click.echo(staged.path)


@command.command("list", short_help="List the staged sets and weights.")
@options.as_json
@data_place
def list_sets(as_json: bool, place: DataPlace) -> None:
    """List the staged sets and weights: size, checksum, contents, date and source."""
    from hpcdl.staging.catalogue import EMBEDDED, SETS
    from hpcdl.staging.checksums import staged

    root = data_root(place)
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
@data_place
def verify_sets(name: str | None, as_json: bool, place: DataPlace) -> None:
    """Hash staged files again, and compare with the checksums from when they were staged.

    NAME is a set, weights/ARCHITECTURE or weights/FILE; without it, everything is
    verified. Exit code 1: something changed.
    """
    from hpcdl.staging.checksums import staged

    root = data_root(place)
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
