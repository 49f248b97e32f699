"""Makes a profile's lines from the user's accounts and their QoS."""

from __future__ import annotations

from collections.abc import Iterator

from hpcdl.discover.lines import Line, is_word, word_line
from hpcdl.job import format_time
from hpcdl.scheduler import rights
from hpcdl.scheduler.site import Partition, Site


def account_lines(site: Site, main: Partition) -> Iterator[Line]:
    """The keys ``account`` and ``accounts``."""
    account = _account(site, main)
    if not account:
        why = "sacctmgr lists none; the account pays for jobs, if your site asks for one: ask it"
        yield Line("account", "my_group", why, "unknown")
        return
    why = "your default account"
    if account != rights.default_account(site):
        why = f"{main.name} takes this one of yours"
    yield word_line("account", account, f"sacctmgr show user: {why}")
    others = [name for name in rights.my_accounts(site) if name != account]
    if others:
        names = [account, *filter(is_word, others)]
        yield Line("accounts", names, "sacctmgr show user: all of yours")


def qos_lines(site: Site, main: Partition) -> Iterator[Line]:
    """The keys ``qos`` and ``qos_choices``."""
    account = _account(site, main)
    allowed: list[str] = []
    may_name_none = False
    for name, qos in rights.ways_in(site, main):
        if name != account:
            continue
        if qos is None:
            may_name_none = True
        else:
            allowed.append(qos)
    limits_s = {qos.name: qos.max_wall_s for qos in site.qos or ()}
    associations = rights.binding(site, account, [main.name]) if account else []
    default = rights.default_qos(associations)
    has_default = any(association.default_qos for association in associations)
    if may_name_none and default in allowed and has_default:
        yield word_line("qos", default or "", f"sacctmgr show user: the default one of {account}")
    elif allowed and not may_name_none:
        longest = max(allowed, key=lambda name: limits_s.get(name) or float("inf"))
        why = f"of those that {main.name} takes, this one allows the longest jobs"
        yield word_line("qos", longest, f"scontrol show partition: {why}")
    elif associations:
        yield Line("qos", "normal", "SLURM takes its own default", "unneeded")
    else:
        why = "sacctmgr lists none; see the site's examples"
        yield Line("qos", "normal", why, "unknown")
    yield from _qos_choices(account, allowed, limits_s)


def _qos_choices(
    account: str,
    allowed: list[str],
    limits_s: dict[str, int | None],
) -> Iterator[Line]:
    choices = []
    for name in filter(is_word, allowed):
        limit_s = limits_s.get(name)
        if limit_s:
            choices.append(Line(name, {"max_time": format_time(limit_s)}, "MaxWall"))
        else:
            choices.append(Line(name, {}, "no MaxWall"))
    if len(choices) > 1:
        why = f"sacctmgr show user, sacctmgr show qos: what {account} may use"
        yield Line("qos_choices", tuple(choices), why)


def _account(site: Site, main: Partition) -> str:
    """The account to use in the partition; "" if SLURM lists none."""
    for account, _ in rights.ways_in(site, main):
        if account:
            return account
    default = rights.default_account(site)
    if default:
        return default
    return rights.my_accounts(site)[0] if site.associations else ""
