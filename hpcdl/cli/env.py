"""``hpcdl env``: the packages that a job needs beside its image's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcdl.cli import completion, options

if TYPE_CHECKING:
    from hpcdl.planning import Plan


@click.group(short_help="Install what the image lacks.")
def command() -> None:
    """Install what the image lacks."""


@command.command("build", short_help="Install a job's packages beside its image.")
@click.argument("job", metavar="JOB", shell_complete=completion.jobs)
@options.cluster
@options.sets
@click.option(
    "--wheels",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Install from the wheels in this folder, and from no index.",
)
def build(job: str, cluster: str | None, sets: tuple[str, ...], wheels: Path | None) -> None:
    """Install a job's packages beside its image.

    The job names a requirements file (packages: requirements.txt). The image's
    own Python installs what that asks for, where internet or a mirror is to be
    had; jobs then see it, read-only. What the image has is not installed again
    and keeps its version. The path of what was built is printed. Each image and
    each list of requirements has its own, which is never changed: to be rid of
    one, remove its folder.

    Pip's own settings count (PIP_INDEX_URL, pip.conf, proxies).

    \b
    hpcdl env build train.yaml --cluster mycluster.yaml
    hpcdl env build train.yaml -c mycluster.yaml --wheels wheels/
    """
    from hpcdl.errors import UserError
    from hpcdl.packages import manifest
    from hpcdl.planning import plan
    from hpcdl.submission.locate import locate

    loaded, site = options.load(job, cluster, sets)
    decided = locate(loaded, site, plan(loaded, site)).plan
    if not loaded.requirements:
        raise UserError(
            f"{job} has no packages: name a file of requirements, as in packages: requirements.txt"
        )
    container = decided.container
    if container is None or container.overlay is None:
        image = container.image if container else loaded.container
        raise UserError(f"the image {image} cannot be read here: build where it is")
    installed = manifest(decided)
    if installed is not None:
        options.say(f"it is there already: {_summary(installed)}")
    else:
        installed = _build(decided, wheels)
        options.say(f"installed: {_summary(installed)}")
    click.echo(Path(container.overlay).with_name(installed["file"]))


def _build(decided: Plan, wheels: Path | None) -> dict[str, Any]:
    from hpcdl.packages.build import build

    return build(decided, options.say, wheels.absolute() if wheels else None)


def _summary(installed: dict[str, Any]) -> str:
    """The packages and their versions, on one line."""
    packages = ", ".join(
        f"{name} {version}" for name, version in sorted(installed["packages"].items())
    )
    return packages or "nothing, the image has all of it"
