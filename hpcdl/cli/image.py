"""``hpcdl image``: look into a container image."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from hpcdl.cli import options


@click.group(short_help="Look into a container image.")
def command() -> None:
    """Look into a container image."""


@command.command("inspect", short_help="Print the versions inside a .sif file.")
@click.argument("sif", metavar="SIF")
@click.option("--python", default="python", show_default=True, help="The image's Python command.")
@click.option("--runtime", help="The container command. Default: apptainer, else singularity.")
@options.as_json
def inspect(sif: str, python: str, runtime: str | None, as_json: bool) -> None:
    """Print the versions inside a .sif file: Python, TensorFlow, Keras, numpy, CUDA; its sha256.

    \b
    hpcdl image inspect tensorflow.sif
    hpcdl image inspect tensorflow.sif --json
    """
    from hpcdl.image import inspect_image

    facts = asdict(inspect_image(sif, python, runtime))
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        click.echo(f"{name:<12} {value if value is not None else '-'}")
