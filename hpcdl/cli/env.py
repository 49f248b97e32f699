"""``hpcdl env``: the packages that a job needs in addition to its image's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hpcdl.cli import options

_WHEELS = "Install from the wheels in this folder, and from no index."


@click.group(short_help="Install what the image lacks.")
def command() -> None:
    """Install what the image lacks."""


@command.command("build", short_help="Install a job's packages next to its image.")
@options.job_name
@options.job_settings_without_size
@click.option(
    "--wheels",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=_WHEELS,
)
def build(job_name: str, settings: options.JobSettings, wheels: Path | None) -> None:
    """Install a job's packages next to its image.

    The job names a file of requirements (packages: requirements.txt). The image's
    own Python installs them, on a machine with internet or a mirror; jobs then
    see them, read-only. What the image has is not installed again and keeps its
    version. The path of the new packages is printed. Each image and each list of
    requirements has its own folder, which never changes: remove it to be rid of
    it.

    Pip's own settings count (PIP_INDEX_URL, pip.conf, proxies).

    \b
    hpcdl env build train.yaml --cluster mycluster.yaml
    hpcdl env build train.yaml -c mycluster.yaml --wheels wheels/
    """
    from hpcdl.errors import UserError
    from hpcdl.packages import manifest
    from hpcdl.packages.build import build as install
    from hpcdl.planning import plan
    from hpcdl.submission.locate import locate, with_models

    job, cluster = options.load(job_name, settings)
    job = with_models(job, cluster)
    planned = locate(job, cluster, plan(job, cluster)).plan
    if not job.requirements:
        advice = "name a file of requirements, as in packages: requirements.txt"
        raise UserError(f"{job_name} has no packages: {advice}")
    container = planned.container
    if container is None or container.overlay is None:
        image = container.image if container else job.container
        raise UserError(f"the image {image} cannot be read here: build where it is")
    installed = manifest(planned)
    if installed is not None:
        options.say(f"already installed: {_summary(installed)}")
    else:
        folder = wheels.absolute() if wheels else None
        installed = install(planned, options.say, folder)
        options.say(f"installed: {_summary(installed)}")
    click.echo(Path(container.overlay).with_name(installed["file"]))


def _summary(installed: dict[str, Any]) -> str:
    """The packages and their versions, on one line."""
    packages = [f"{name} {version}" for name, version in sorted(installed["packages"].items())]
    return ", ".join(packages) or "nothing, the image has all of it"
