"""Writes the profile of a site from what the site's own commands say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hpcdl.discover.lines import Line, text
from hpcdl.discover.places import binds_line, detect_line, place_lines
from hpcdl.discover.queues import queue_lines
from hpcdl.discover.software import container_lines, image_line
from hpcdl.scheduler.clusters import on_cluster
from hpcdl.scheduler.site import forget, read_site
from hpcdl.variables import slurm_cluster

_HEAD = """\
# The site of {host}, as its own commands describe it: found by hpcdl cluster discover.
# The comment behind a value says what told it. Look at each "a guess". A key that is commented out has no value yet,
# or needs none: its comment says which, and how to find it.
"""


def discover(
    host: str, say: Callable[[str], None], partition: str | None = None, images: Sequence[str] = ()
) -> list[Line]:
    """Ask SLURM, ``module`` and the container command, each a few questions, one after the other.

    Args:
        host: this machine's full name.
        say: is told what is being asked.
        partition: the partition to describe; by default SLURM's default one, where it has GPUs.
        images: folders with .sif files.

    Raises:
        SchedulerError: SLURM is not here, or did not answer.
        UserError: there is no such partition, or no such folder.
    """
    found_images = image_line(images)
    say("asking scontrol and sacctmgr")
    forget()
    several = slurm_cluster()
    with on_cluster(several):
        site = read_site()
    name, *queues = queue_lines(site, partition)
    if several:
        why = "SLURM_CLUSTERS in your shell: all of SLURM's commands get -M"
        queues.insert(0, Line("clusters", several, why))
    accounts = {row.account for row in site.associations or ()}
    container = [*container_lines(say), found_images, binds_line(accounts, images)]
    return [name, detect_line(host), *queues, *container, *place_lines()]


def profile(host: str, lines: Sequence[Line]) -> str:
    """The profile's text."""
    return _HEAD.format(host=host) + text(lines)


def keys(lines: Sequence[Line], state: str) -> list[str]:
    """The keys whose lines are guessed, or unknown."""
    sections = [(line.key, line.value) for line in lines if isinstance(line.value, tuple)]
    inner = [f"{key}.{line.key}" for key, section in sections for line in section if line.state == state]
    return [line.key for line in lines if line.state == state] + inner
