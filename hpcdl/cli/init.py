"""``hpcdl init``: keep what hpcdl cannot know about you, once: your cluster, account and images."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli import options

if TYPE_CHECKING:
    from hpcdl.cluster import Cluster
    from hpcdl.yamlfile.reader import Located

_SET = "A key of the profile to keep, such as account=nct00. May be repeated."


@dataclass
class Answers:
    """What the file will say of one cluster.

    cluster: the profile's name, or the absolute path of its file.
    asks: whether a person can be asked.
    sets: keys of the profile, as ``cluster.KEY=VALUE``: what the user gave and what was found out.
    """

    cluster: str
    asks: bool
    sets: list[str] = field(default_factory=list)

    def profile(self) -> Cluster:
        """The profile with the answers so far.

        Raises:
            ProblemsError: it is not complete yet.
        """
        from hpcdl.cluster import load_cluster

        return load_cluster(self.cluster, self.sets)

    def keep(self, key: str, value: str) -> None:
        """Keep a text for a key of the profile."""
        from hpcdl.yamlfile.writer import plain

        self.sets.append(f"cluster.{key}={plain(value)}")


@click.command(short_help="Keep your cluster, account and image in a file of yours.")
@options.cluster
@click.option("--set", "-s", "sets", multiple=True, metavar="KEY=VALUE", help=_SET)
@click.option("--yes", "-y", is_flag=True, help="Ask nothing: take what is given or found.")
@click.option("--force", is_flag=True, help="Change the file if it exists.")
def command(cluster: str | None, sets: tuple[str, ...], yes: bool, force: bool) -> None:
    """Keep your cluster, account and image in a file of yours.

    The file is ~/.config/hpcdl/config.yaml. Every command reads it, so you no
    longer need --cluster and --set cluster.account. It may hold several clusters:
    run init again on the next one. Its path is printed.

    \b
    hpcdl init
    hpcdl init --cluster marenostrum5 --set account=nct00 --yes
    """
    from hpcdl.cluster import read_cluster
    from hpcdl.cluster.layers import shown, user_file

    path, asks = user_file(), not yes and sys.stdin.isatty()
    if path.exists() and not force:
        _confirm_change(path, asks)
    answers = Answers(_choose_profile(cluster, asks), asks)
    answers.sets += [f"cluster.{text.removeprefix('cluster.')}" for text in sets]
    profile = read_cluster(answers.cluster, answers.sets)
    options.say(f"cluster {profile.name}: {profile.description}".removesuffix(": "))
    _add_account(answers, profile)
    _add_images(answers)
    profile = answers.profile()
    if profile.gpu_vendor == "amd":
        options.say("the GPUs are AMD's: an image needs a TensorFlow that is built for ROCm")
    options.say(f"data in {profile.data_root}\nruns in {profile.runs_root}")
    text = _file_text(answers, profile.name)
    question = f"\n{text}\nwrite this to {shown(path)}?"
    if asks and not click.confirm(question, default=True, err=True):
        raise click.Abort
    _write(path, text)
    click.echo(path)
    options.say("next: hpcdl check mnist_cnn")


def _confirm_change(path: Path, asks: bool) -> None:
    """Ask whether to change the file.

    Raises:
        UserError: it must not change.
    """
    from hpcdl.cluster.layers import shown
    from hpcdl.errors import UserError

    if not asks or not click.confirm(f"{shown(path)} exists; change it?", err=True):
        raise UserError(f"{shown(path)} exists already; --force changes it")


def _write(path: Path, text: str) -> None:
    from hpcdl.errors import HpcdlError
    from hpcdl.files import write_text
    from hpcdl.oserrors import reason

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        remedy = "XDG_CONFIG_HOME can name another folder"
        raise HpcdlError(f"cannot write {path}: {reason(error)}; {remedy}") from error


def _choose_profile(name: str | None, asks: bool) -> str:
    """The profile's name, or the absolute path of its file."""
    from hpcdl.cluster import built_in_profiles, choose_cluster
    from hpcdl.errors import ProblemsError, UserError

    try:
        chosen = choose_cluster(name)
    except ProblemsError:
        raise
    except UserError as error:
        if name is not None:
            raise
        if not asks:
            raise UserError(_which_cluster()) from error
        question = f"which cluster? {_profile_names()}, or your own profile's file"
        chosen = str(click.prompt(question, err=True))
    is_file = "/" in chosen or chosen.endswith((".yaml", ".yml"))
    if chosen in built_in_profiles() or not is_file:
        return chosen
    return os.path.abspath(os.path.expanduser(chosen))


def _profile_names() -> str:
    from hpcdl.cluster import built_in_profiles

    return ", ".join(name for name in built_in_profiles() if name != "local")


def _which_cluster() -> str:
    return (
        "which cluster? No profile fits this host. Say hpcdl init --cluster NAME or FILE; "
        f"known are {_profile_names()}. For a cluster that is not among them: "
        "hpcdl cluster discover -o mycluster.yaml, on its login node, "
        "then hpcdl init --cluster mycluster.yaml"
    )


def _add_account(answers: Answers, profile: Cluster) -> None:
    """Keep the account, if the profile leaves it open.

    Raises:
        UserError: there are several to choose from, or one is needed, and nobody can be asked.
    """
    from hpcdl.errors import UserError

    accounts, default = _accounts(profile)
    if profile.account:
        _say_account(profile, accounts)
        return
    is_needed = any("{account}" in path for path in _paths(profile))
    account: str | None = default
    if answers.asks and len(accounts) != 1:
        account = _ask_account(accounts, default, is_needed)
    elif account is None and (accounts or is_needed):
        choices = "|".join(accounts) or "<your group>"
        raise UserError(f"which account? --set account={choices}")
    if account:
        options.say(f"account {account}")
        answers.keep("account", account)


def _say_account(profile: Cluster, accounts: list[str]) -> None:
    """Say which account the profile has, and whether SLURM knows it."""
    from hpcdl.text import did_you_mean

    account = profile.account
    options.say(f"account {account} ({profile.places['account']})")
    if accounts and account not in accounts:
        similar = did_you_mean(account, accounts)
        options.say(f"but SLURM here knows no account {account} of yours{similar}")


def _ask_account(accounts: list[str], default: str | None, is_needed: bool) -> str | None:
    question = "which account pays"
    if accounts:
        question += f": {', '.join(accounts)}"
    elif not is_needed:
        question += " (empty: the site's default)"
    if default is None and not is_needed:
        default = ""
    account: str | None = click.prompt(question, default=default, err=True)
    return account


def _accounts(profile: Cluster) -> tuple[list[str], str | None]:
    """The user's accounts, as the profile or SLURM lists them, and the default one."""
    from hpcdl.errors import SchedulerError
    from hpcdl.scheduler import slurm
    from hpcdl.scheduler.ask_site import read_site
    from hpcdl.scheduler.clusters import on_cluster

    accounts, default = list(profile.accounts), None
    if profile.name != "local" and slurm.available():
        options.say("asking sacctmgr for your accounts ...")
        try:
            with on_cluster(profile.clusters):
                associations = read_site().associations or ()
        except SchedulerError as error:
            options.say(f"SLURM does not answer: {error}")
            associations = ()
        accounts = sorted({association.account for association in associations}) or accounts
        for association in associations:
            default = default or association.default_account or None
    if default is None and len(accounts) == 1:
        default = accounts[0]
    return accounts, default


def _add_images(answers: Answers) -> None:
    """Keep the path of each image that is not where the profile says."""
    for name, image in answers.profile().images.items():
        if os.path.exists(image.path):
            options.say(f"image {name}: {image.path}")
            continue
        path = _ask_image(name, image.path) if answers.asks else ""
        if path:
            answers.keep(f"images.{name}.path", os.path.abspath(os.path.expanduser(path)))
        else:
            advice = f"put it there, or --set images.{name}=PATH"
            options.say(f"image {name}: {image.path} is not there yet; {advice}")


def _ask_image(name: str, path: str) -> str:
    question = f"there is no {path}; where is the image {name}? (empty: it will be there)"
    return str(click.prompt(question, default="", err=True, show_default=False))


def _paths(profile: Cluster) -> list[str]:
    """All paths of a profile."""
    images = [image.path for image in profile.images.values()]
    others = (profile.data_root, profile.runs_root, profile.scratch, profile.host_python)
    return [*images, *profile.binds, *filter(None, others)]


def _file_text(answers: Answers, profile_name: str) -> str:
    """The file's new text: its present content, with this cluster's keys changed."""
    from hpcdl.job import apply_sets
    from hpcdl.yamlfile.reader import Located
    from hpcdl.yamlfile.writer import plain

    sections = _present_sections()
    section = sections.setdefault(profile_name, Located({}, ""))
    apply_sets(section, answers.sets, [], "cluster.")
    lines = []
    for name, keys in sections.items():
        if keys.value:
            lines.append(f"  {plain(name)}:")
        for key, item in keys.value.items():
            lines.append(f"    {plain(key)}: {_one_line_yaml(item)}")
    if lines:
        lines.insert(0, "profiles:")
    head = [
        "# What hpcdl uses where nothing else is said; made by hpcdl init.",
        f"cluster: {plain(answers.cluster)}",
    ]
    return "\n".join([*head, *lines]) + "\n"


def _present_sections() -> dict[str, Any]:
    """The profiles' sections of the present file, by name; empty if there is no file."""
    from hpcdl.cluster import built_in_profiles
    from hpcdl.cluster.layers import settings, user_file

    if not user_file().exists():
        return {}
    files = settings(built_in_profiles(), [])  # the user's own is the first
    profiles = files[0].value.get("profiles") if files else None
    if profiles is None or not isinstance(profiles.value, dict):
        return {}
    return dict(profiles.value)


def _one_line_yaml(item: Located) -> str:
    """A value as YAML on one line; a number or a truth value keeps its own text."""
    from hpcdl.yamlfile.writer import plain

    if isinstance(item.value, dict):
        pairs = [f"{plain(key)}: {_one_line_yaml(inner)}" for key, inner in item.value.items()]
        return f"{{{', '.join(pairs)}}}"
    if isinstance(item.value, list):
        return f"[{', '.join(map(_one_line_yaml, item.value))}]"
    if isinstance(item.value, str) or item.raw is None:
        return plain(item.value)
    return item.raw or "null"
