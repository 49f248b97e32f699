"""Where staged sets lie: the options of ``hpcdl data`` that say so, and the folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from hpcdl.cli import options

_DATA_ROOT = "Folder of staged sets, instead of the profile's data_root."


@dataclass(frozen=True)
class DataPlace:
    """Where staged sets lie: --data-root, else the data_root of --cluster."""

    cluster: str | None
    data_root: str | None


data_place = options.grouped(
    "place",
    DataPlace,
    options.cluster,
    click.option("--data-root", metavar="DIR", type=click.Path(file_okay=False), help=_DATA_ROOT),
)


def data_root(place: DataPlace) -> Path:
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
