"""What several commands share: options, and the way from them to a job, a cluster or a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hpcdl.cluster import Cluster
    from hpcdl.job import Job
    from hpcdl.run import Run

_CLUSTER = (
    "Cluster profile: a name or a .yaml file. Default: HPCDL_CLUSTER, ./hpcdl.yaml, hpcdl init's, else what fits "
    "this host."
)
_SET = "Override one key of the job, or with cluster.KEY of the profile. May be repeated."
_RUNS_DIR = "Folder of run folders, instead of the profile's runs_root."

cluster = click.option("--cluster", "-c", metavar="NAME|FILE", help=_CLUSTER)
sets = click.option("--set", "-s", "sets", multiple=True, metavar="KEY.PATH=VALUE", help=_SET)
runs_dir = click.option("--runs-dir", metavar="DIR", type=click.Path(file_okay=False), help=_RUNS_DIR)
show_env = click.option(
    "--show-env",
    is_flag=True,
    help="Show the values of env, and what looks like a secret. Default: hidden.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def run_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """A RUN argument with the options that say where to look for it."""
    decorated = click.argument("run", metavar="RUN")(function)
    return cluster(runs_dir(decorated))


def load(
    job: str, cluster: str | None, sets: tuple[str, ...], default_cluster: str | None = None
) -> tuple[Job, Cluster]:
    """The job and the cluster of a command line, with each --set where it belongs."""
    from hpcdl.cluster import choose_cluster, load_cluster
    from hpcdl.job import load_job

    for_cluster = [text for text in sets if text.startswith("cluster.")]
    for_job = [text for text in sets if not text.startswith("cluster.")]
    loaded = load_job(job, for_job)
    return loaded, load_cluster(cluster or default_cluster or choose_cluster(None), for_cluster, loaded)


def run_roots(cluster: str | None, runs_dir: str | None) -> list[Path]:
    """Where runs are looked for: --runs-dir, the cluster's runs_root, and ./runs."""
    from hpcdl.cluster import choose_cluster, load_cluster
    from hpcdl.errors import UserError

    roots = [Path(runs_dir)] if runs_dir else []
    try:
        roots.append(Path(load_cluster(choose_cluster(cluster)).runs_root))
    except UserError:
        if cluster:
            raise
    roots.append(Path("runs"))
    return list(dict.fromkeys(root.absolute() for root in roots))


def find(run: str, cluster: str | None, runs_dir: str | None) -> Run:
    """The run that a RUN argument means; a path needs no cluster."""
    from hpcdl.run import Run, find_run

    if os.path.exists(Path(run, "manifest.json")):
        return Run(run)
    return find_run(run, run_roots(cluster, runs_dir))


def say(text: str) -> None:
    """Talk: one line on stderr."""
    click.echo(text, err=True)
