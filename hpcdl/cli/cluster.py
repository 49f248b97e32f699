"""``hpcdl cluster``: the profiles."""

from __future__ import annotations

from pathlib import Path

import click

from hpcdl.cli import cluster_test, options
from hpcdl.text import hpcdl_command

_DISCOVER = "Write a profile of this site, as its own commands describe it."
_OUTPUT = "Write the profile to this file, instead of to stdout."
_COUNTRY = "Only sites in this country, such as Norway."
_GPU = "Only sites with such GPUs, such as h100 or amd."
_PARTITION = "Describe this one. Default: SLURM's default, if it has GPUs."
_IMAGES = "Look for .sif files in this folder. May be repeated."


@click.group(short_help="List, show, discover and test cluster profiles.")
def command() -> None:
    """List, show, discover and test cluster profiles: files that describe a site."""


command.add_command(cluster_test.command)


@command.command("list", short_help="List the built-in profiles.")
@click.option("--country", metavar="NAME", help=_COUNTRY)
@click.option("--gpu", metavar="MODEL", help=_GPU)
@options.as_json
def list_profiles(country: str | None, gpu: str | None, as_json: bool) -> None:
    """List the built-in profiles: where each site is, and the GPUs of its nodes.

    \b
    hpcdl cluster list
    hpcdl cluster list --gpu h100
    hpcdl cluster list --country norway --gpu a100
    """
    from hpcdl.cluster.catalogue import sites
    from hpcdl.contract.tables import aligned

    fitting = sites(country, gpu)
    if as_json:
        import json

        click.echo(json.dumps([site.as_json() for site in fitting], indent=2))
        return
    rows = [["PROFILE", "COUNTRY", "GPUS", "WHAT"]]
    for site in fitting:
        gpus = ", ".join(site.gpus)
        rows.append([site.name, site.country or "-", gpus or "-", site.description])
    for line in aligned(rows):
        click.echo(line)


@command.command("keys", short_help="Print every key of a profile, as Markdown.")
def keys() -> None:
    """Print every key of a cluster profile: its type, its default, its meaning (Markdown)."""
    from hpcdl.cluster import Cluster
    from hpcdl.job.reference import keys as keys_of
    from hpcdl.job.reference import markdown

    click.echo(markdown(keys_of(Cluster, "")))


@command.command("show", short_help="Print a profile, and where each value comes from.")
@click.argument("name", metavar="[NAME|FILE]", required=False)
@options.sets
@click.option("--raw", is_flag=True, help="Print its file as it is written, with its comments.")
def show(name: str | None, sets: tuple[str, ...], raw: bool) -> None:
    """Print a profile, and next to each value where it comes from.

    Values of your config.yaml (hpcdl init), of hpcdl.yaml in this folder and of
    --set replace the profile's own. The output is a profile: you can start your
    own from it. Without a name, it prints the profile that commands use here.

    \b
    hpcdl cluster show
    hpcdl cluster show generic > mycluster.yaml
    hpcdl cluster show saga --raw
    """
    from hpcdl.cluster import choose_cluster, profile_text, read_cluster
    from hpcdl.cluster.show import text

    chosen = choose_cluster(name)
    if raw:
        click.echo(profile_text(chosen), nl=False)
    else:
        click.echo(text(read_cluster(chosen, sets)), nl=False)


@command.command("discover", short_help=_DISCOVER)
@click.option("--output", "-o", metavar="FILE", help=_OUTPUT)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--partition", metavar="NAME", help=_PARTITION)
@click.option("--images", metavar="DIR", multiple=True, help=_IMAGES)
def discover(
    output: str | None,
    force: bool,
    partition: str | None,
    images: tuple[str, ...],
) -> None:
    """Write a profile of this site, as its own commands describe it.

    Run it on a login node. It asks scontrol, sacctmgr, module and the container
    command, and writes next to each value where it comes from. Keys that it
    cannot find out are comments that say how to find them.

    \b
    hpcdl cluster discover
    hpcdl cluster discover -o site.yaml --images /path/to/images
    """
    from socket import getfqdn

    from hpcdl.discover import discover as find
    from hpcdl.discover import keys, profile
    from hpcdl.errors import HpcdlError, UserError
    from hpcdl.files import write_text
    from hpcdl.oserrors import sentence

    if output and not force and Path(output).exists():
        raise UserError(f"{output} exists already; --force replaces it")
    host = getfqdn()
    lines = find(host, lambda what: options.say(f"{what} ..."), partition, images)
    if output is None:
        click.echo(profile(host, lines), nl=False)
    else:
        try:
            write_text(Path(output), profile(host, lines))
        except OSError as error:
            raise HpcdlError(f"cannot write {sentence(error)}") from error
    for title, state in (("guessed, please check", "guess"), ("not found", "unknown")):
        names = keys(lines, state)
        if names:
            options.say(f"{title}: {', '.join(names)}")
    if output is None:
        options.say(
            "next: hpcdl check mnist_cnn --cluster FILE, after hpcdl cluster discover -o FILE"
        )
    else:
        options.say(f"next: {hpcdl_command('check', 'mnist_cnn', '--cluster', output)}")
