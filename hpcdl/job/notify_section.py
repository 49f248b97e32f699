"""The section `notify` of a job file or a profile: who hears that a run has ended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from hpcdl.contract.settings import setting
from hpcdl.text import show
from hpcdl.yamlfile.reader import Located
from hpcdl.yamlfile.walker import Walker

_MAIL = re.compile(r"[A-Za-z0-9._%+-]+(@[A-Za-z0-9.-]+)?")
_MAIL_OPTIONS = ("mail-user", "mail-type")


@dataclass(frozen=True)
class NotifySection:
    """Who hears that a run has ended."""

    mail: Optional[str] = setting(
        "SLURM's own mail at the end or failure of each job: an address, or a user's name", None
    )
    command: list[str] = setting(
        "a command and its arguments, run on the node once the run has ended for good, without a "
        "shell; it finds HPCDL_RUN, HPCDL_STATE, HPCDL_CAUSE and HPCDL_MESSAGE in its environment",
        [],
    )
    timeout_s: int = setting("seconds after which the command is ended", 30, ge=1, le=300)


def check_notify(
    notify: NotifySection, document: Located, sbatch_options: Mapping[str, Located], walker: Walker
) -> None:
    """The address is one, the command has words, and the mail is not asked for twice.

    Args:
        notify: the section.
        document: the file that has it.
        sbatch_options: the options of the job's section `slurm`; none for a profile.
        walker: gets the problems.
    """
    if notify.mail is not None:
        item = document.at("notify.mail")
        if not _MAIL.fullmatch(notify.mail):
            message = f"expected an address such as me@site.org; got {show(notify.mail)}"
            walker.add(item, "notify.mail", message)
        for option in _MAIL_OPTIONS:
            if option in sbatch_options:
                other = sbatch_options[option]
                walker.add(other, f"slurm.{option}", "is what notify.mail says; leave out one")
    for number, word in enumerate(notify.command):
        key = f"notify.command[{number}]"
        if "\0" in word or (number == 0 and not word.strip()):
            message = f"expected a command and its arguments; got {show(word)}"
            walker.add(document.at("notify.command"), key, message)
