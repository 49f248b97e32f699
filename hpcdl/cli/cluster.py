"""``hpcdl cluster``: the profiles."""

from __future__ import annotations

from pathlib import Path

import click


@click.group(short_help="List and show cluster profiles.")
def command() -> None:
    """List and show cluster profiles: what hpcdl knows of a site, as data."""


@command.command("list", short_help="List the built-in profiles.")
def list_profiles() -> None:
    """List the built-in profiles."""
    import re

    from hpcdl.cluster import built_in_profiles

    for name, path in built_in_profiles().items():
        line = re.search(r"^description: *(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        click.echo(f"{name:<14} {line[1] if line else ''}")


@command.command("keys", short_help="Tell every key of a profile, as Markdown.")
def keys() -> None:
    """Tell every key of a cluster profile: what it takes, its default, its meaning (Markdown)."""
    from hpcdl.cluster import Cluster
    from hpcdl.job.reference import keys as keys_of
    from hpcdl.job.reference import markdown

    click.echo(markdown(keys_of(Cluster, "")))


@command.command("show", short_help="Print a profile.")
@click.argument("name", metavar="NAME|FILE")
def show(name: str) -> None:
    """Print a profile as it is written, to read it or to start your own from it.

    \b
    hpcdl cluster show generic > mycluster.yaml
    """
    from hpcdl.cluster import built_in_profiles
    from hpcdl.errors import UserError

    path = built_in_profiles().get(name, Path(name))
    try:
        click.echo(path.read_text(encoding="utf-8"), nl=False)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"there is no profile {name!r}; known are {', '.join(built_in_profiles())}") from error
