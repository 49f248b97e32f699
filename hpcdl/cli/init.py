"""``hpcdl init``: keep what hpcdl cannot know of you, once: your cluster, account and image."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from hpcdl.cli import options

if TYPE_CHECKING:
    from hpcdl.cluster import Cluster
    from hpcdl.yamlfile.reader import Located

_SET = "A key of the profile to keep, such as account=nct00. May be repeated."


@click.command(short_help="Keep your cluster, account and image in a file of yours.")
@options.cluster
@click.option("--set", "-s", "sets", multiple=True, metavar="KEY=VALUE", help=_SET)
@click.option("--yes", "-y", is_flag=True, help="Ask nothing: take what was given and found.")
@click.option("--force", is_flag=True, help="Change the file if it is there.")
def command(cluster: str | None, sets: tuple[str, ...], yes: bool, force: bool) -> None:
    """Keep your cluster, account and image in a file of yours.

    The file is ~/.config/hpcdl/config.yaml; every command reads it, so that
    --cluster and --set cluster.account are not needed any more. It may hold
    several clusters: run it again on the next one. Its path is printed.

    \b
    hpcdl init
    hpcdl init --cluster marenostrum5 --set account=nct00 --yes
    """
    from hpcdl.cluster import load_cluster, read_cluster
    from hpcdl.cluster.layers import shown, user_file
    from hpcdl.errors import HpcdlError, UserError
    from hpcdl.files import write_text
    from hpcdl.oserrors import reason

    path, asks = user_file(), not yes and sys.stdin.isatty()
    if path.exists() and not force:
        question = f"{shown(path)} is there; change it?"
        if not asks or not click.confirm(question, err=True):
            raise UserError(f"{shown(path)} is there already; --force changes it")
    name = _cluster(cluster, asks)
    settings = [f"cluster.{text.removeprefix('cluster.')}" for text in sets]
    site = read_cluster(name, settings)
    options.say(f"cluster {site.name}: {site.description}".removesuffix(": "))
    settings += _account(site, asks)
    settings += _images(load_cluster(name, settings), asks)
    site = load_cluster(name, settings)
    options.say(f"data in {site.data_root}\nruns in {site.runs_root}")
    text = _text(name, site.name, settings)
    if asks and not click.confirm(
        f"\n{text}\nwrite this to {shown(path)}?", default=True, err=True
    ):
        raise click.Abort
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        remedy = "XDG_CONFIG_HOME can name another folder"
        raise HpcdlError(f"cannot write {path}: {reason(error)}; {remedy}") from error
    click.echo(path)
    options.say("next: hpcdl check mnist_cnn")


def _cluster(cluster: str | None, asks: bool) -> str:
    """The profile's name, or the absolute path of its file."""
    from hpcdl.cluster import built_in_profiles, choose_cluster
    from hpcdl.errors import ProblemsError, UserError

    try:
        chosen = choose_cluster(cluster)
    except ProblemsError:
        raise
    except UserError as error:
        if cluster is not None:
            raise
        profiles = ", ".join(name for name in built_in_profiles() if name != "local")
        if not asks:
            raise UserError(
                "which cluster? This host fits no profile. Say hpcdl init --cluster NAME or FILE; "
                f"known are {profiles}. For a cluster that is not among them: "
                "hpcdl cluster discover -o mycluster.yaml, on its login node, "
                "then hpcdl init --cluster mycluster.yaml"
            ) from error
        question = f"which cluster? {profiles}, or your own profile's file"
        chosen = str(click.prompt(question, err=True))
    is_file = "/" in chosen or chosen.endswith((".yaml", ".yml"))
    if chosen in built_in_profiles() or not is_file:
        return chosen
    return os.path.abspath(os.path.expanduser(chosen))


def _account(site: Cluster, asks: bool) -> list[str]:
    """The account, if the profile leaves it open."""
    from hpcdl.errors import UserError
    from hpcdl.text import did_you_mean

    accounts, default = _accounts(site)
    if site.account:
        options.say(f"account {site.account} ({site.places['account']})")
        if accounts and site.account not in accounts:
            similar = did_you_mean(site.account, accounts)
            options.say(f"but SLURM here knows no account {site.account} of yours{similar}")
        return []
    needed = any("{account}" in path for path in _paths(site))
    account: str | None = default
    if asks and len(accounts) != 1:
        account = _ask_account(accounts, default, needed)
    elif account is None and (accounts or needed):
        raise UserError(f"which account? --set account={'|'.join(accounts) or '<your group>'}")
    if not account:
        return []
    options.say(f"account {account}")
    return [f"cluster.account={account}"]


def _ask_account(accounts: list[str], default: str | None, needed: bool) -> str | None:
    which = ""
    if accounts:
        which = f": {', '.join(accounts)}"
    elif not needed:
        which = " (empty: the site's default)"
    if default is None and not needed:
        default = ""
    account: str | None = click.prompt(f"which account pays{which}", default=default, err=True)
    return account


def _accounts(site: Cluster) -> tuple[list[str], str | None]:
    """The accounts that the profile or sacctmgr lists, and the default one."""
    from hpcdl.errors import SchedulerError
    from hpcdl.scheduler import slurm
    from hpcdl.scheduler.clusters import on_cluster
    from hpcdl.scheduler.site import read_site

    accounts, default = list(site.accounts), None
    if site.name != "local" and slurm.available():
        options.say("asking sacctmgr for your accounts ...")
        try:
            with on_cluster(site.clusters):
                mine = read_site().associations or ()
        except SchedulerError as error:
            options.say(f"SLURM does not answer: {error}")
            mine = ()
        accounts = sorted({association.account for association in mine}) or accounts
        defaults = [association.default_account for association in mine]
        default = next(filter(None, defaults), None)
    if default is None and len(accounts) == 1:
        default = accounts[0]
    return accounts, default


def _images(site: Cluster, asks: bool) -> list[str]:
    """Ask for the path of each image that is not where the profile says."""
    from hpcdl.yamlfile.writer import plain

    settings = []
    for name, image in site.images.items():
        if os.path.exists(image.path):
            options.say(f"image {name}: {image.path}")
            continue
        answer = ""
        if asks:
            question = f"there is no {image.path}; where is the image {name}?"
            empty = "(empty: it will be there)"
            answer = click.prompt(f"{question} {empty}", default="", err=True, show_default=False)
        if answer:
            path = os.path.abspath(os.path.expanduser(answer))
            settings.append(f"cluster.images.{name}.path={plain(path)}")
        else:
            advice = f"put it there, or --set images.{name}=PATH"
            options.say(f"image {name}: {image.path} is not there yet; {advice}")
    return settings


def _paths(site: Cluster) -> list[str]:
    images = [image.path for image in site.images.values()]
    return [
        *images,
        *site.binds,
        site.data_root,
        site.runs_root,
        site.scratch or "",
        site.host_python or "",
    ]


def _text(cluster: str, name: str, sets: list[str]) -> str:
    """The file: what is in it now, with this cluster's keys changed."""
    from hpcdl.cluster import built_in_profiles
    from hpcdl.cluster.layers import settings, user_file
    from hpcdl.job import apply_sets
    from hpcdl.yamlfile.reader import Located
    from hpcdl.yamlfile.writer import plain

    files = settings(built_in_profiles(), []) if user_file().exists() else []
    old = files[0].value.get("profiles") if files else None
    sections = dict(old.value) if old is not None and isinstance(old.value, dict) else {}
    apply_sets(sections.setdefault(name, Located({}, "")), sets, [], "cluster.")
    lines = [
        "# What hpcdl uses where nothing else is said; made by hpcdl init.",
        f"cluster: {plain(cluster)}",
    ]
    for key, section in sections.items():
        inner = [f"    {plain(name)}: {_flow(item)}" for name, item in section.value.items()]
        if inner:
            lines += [*([] if "profiles:" in lines else ["profiles:"]), f"  {plain(key)}:", *inner]
    return "\n".join(lines) + "\n"


def _flow(item: Located) -> str:
    """A value as YAML, on one line; a scalar's own text is kept."""
    from hpcdl.yamlfile.writer import plain

    if isinstance(item.value, dict):
        return (
            "{"
            + ", ".join(f"{plain(key)}: {_flow(inner)}" for key, inner in item.value.items())
            + "}"
        )
    if isinstance(item.value, list):
        return "[" + ", ".join(map(_flow, item.value)) + "]"
    return (
        plain(item.value) if isinstance(item.value, str) or item.raw is None else item.raw or "null"
    )
