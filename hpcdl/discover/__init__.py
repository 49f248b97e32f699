"""Writes the profile of a site from what the site's own commands say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hpcdl.discover.lines import Line, text
from hpcdl.discover.slurm import name_line, queue_lines
from hpcdl.discover.software import container_lines, image_line
from hpcdl.discover.storage import binds_line, detect_line, place_lines
from hpcdl.environment import slurm_cluster
from hpcdl.scheduler.ask_site import forget, read_site
from hpcdl.scheduler.clusters import on_cluster

_HEAD = """\
# The site of {host}, as its own commands describe it: found by hpcdl cluster discover.
# The comment after a value says where it comes from. Check each "a guess".
# A key that is commented out has no value yet, or needs none: its comment says which.
"""


def discover(
    host: str, say: Callable[[str], None], partition: str | None = None, images: Sequence[str] = ()
) -> list[Line]:
    """Ask SLURM, ``module`` and the container command, each a few questions, one after the other.

    Args:
        host: this machine's full name.
        say: is called with what is being asked.
        partition: the partition to describe; by default SLURM's default one if it has GPUs.
        images: folders with .sif files.

    Raises:
        SchedulerError: SLURM is not here, or did not answer.
        UserError: there is no such partition, or no such folder.
    """
    images_line = image_line(images)
    say("asking scontrol and sacctmgr")
    forget()
    slurm_clusters = slurm_cluster()
    with on_cluster(slurm_clusters):
        site = read_site()
    lines = [name_line(site), detect_line(host)]
    if slurm_clusters:
        why = "SLURM_CLUSTERS in your shell: all of SLURM's commands get -M"
        lines.append(Line("clusters", slurm_clusters, why))
    lines += queue_lines(site, partition)
    lines += container_lines(say)
    accounts = {association.account for association in site.associations or ()}
    return [*lines, images_line, binds_line(accounts, images), *place_lines()]


def profile(host: str, lines: Sequence[Line]) -> str:
    """The profile's text."""
    return _HEAD.format(host=host) + text(lines)


def keys(lines: Sequence[Line], state: str) -> list[str]:
    """The keys whose lines are in a state, such as guess or unknown. Keys of sections come last."""
    own, inner = [], []
    for line in lines:
        if line.state == state:
            own.append(line.key)
        if not isinstance(line.value, tuple):
            continue
        for below in line.value:
            if below.state == state:
                inner.append(f"{line.key}.{below.key}")
    return own + inner
