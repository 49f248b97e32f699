"""``hpcdl data``: stage data sets, and list what is staged."""

from __future__ import annotations

from pathlib import Path

import click

from hpcdl.cli import options

_DATA_ROOT = "Folder of staged sets, instead of the profile's data_root."
data_root = click.option("--data-root", metavar="DIR", type=click.Path(file_okay=False), help=_DATA_ROOT)


@click.group(short_help="Stage data sets under data_root, and list them.")
def command() -> None:
    """Stage data sets under data_root, and list them.

    Compute nodes have no internet: a set is put on the shared file system once,
    with its checksums, and jobs name it (data: {name: mnist}).
    """


@command.command("stage", short_help="Put a set under data_root.")
@click.argument("name", metavar="NAME")
@click.option("--from", "source", metavar="FILE|DIR", help="An .npz file in Keras's layout, or a folder of IDX files.")
@options.cluster
@data_root
def stage_set(name: str, source: str | None, cluster: str | None, data_root: str | None) -> None:
    """Put a set under data_root; its path is printed.

    \b
    hpcdl data stage digits                    1,797 real digits that scikit-learn ships
    hpcdl data stage mnist --from mnist.npz    a file you fetched or copied
    """
    from hpcdl.data.staging import stage

    done = stage(name, _root(cluster, data_root), Path(source) if source else None)
    options.say(f"staged {name}: {done.bytes / 1e6:.1f} MB\n{done.sha256}")
    click.echo(done.path)


@command.command("list", short_help="List the staged sets.")
@options.cluster
@data_root
def list_sets(cluster: str | None, data_root: str | None) -> None:
    """List the staged sets, with their sizes and checksums."""
    from hpcdl.data.staging import EMBEDDED, staged

    root = _root(cluster, data_root)
    options.say(f"data_root is {root}")
    found = staged(root)
    for one in found:
        click.echo(f"{one.name:<16} {one.bytes / 1e6:8.1f} MB  {one.sha256.split()[0][:16]}…  {one.path}")
    missing = [name for name in EMBEDDED if name not in {one.name for one in found}]
    for name in missing:
        options.say(f"not staged: {name}, {EMBEDDED[name]}")


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
