"""The folders in which a user's runs are looked for."""

from __future__ import annotations

from pathlib import Path

from hpcdl.cluster import fitting_cluster, load_cluster, named_cluster
from hpcdl.errors import UserError


def run_roots(cluster: str | None, runs_dir: str | None) -> tuple[list[Path], str]:
    """The folders of runs: --runs-dir, the cluster's runs_root, and ./runs.

    A profile that somebody named must exist. One that merely fits this host may lack something,
    such as the account: then its runs are not looked for.

    Args:
        cluster: the profile that --cluster names; None for the one in use here.
        runs_dir: the folder that --runs-dir names; None without it.

    Returns:
        the folders as absolute paths, each once, and why a profile's is missing, or "".

    Raises:
        UserError: the named profile cannot be read.
    """
    roots = []
    message = ""
    if runs_dir:
        roots.append(Path(runs_dir))
    name = named_cluster(cluster)
    if name is not None:
        roots.append(Path(load_cluster(name).runs_root))
    elif fitting := fitting_cluster():
        try:
            roots.append(Path(load_cluster(fitting).runs_root))
        except UserError as error:
            message = f"runs of {fitting} are not looked for: {error}"
    roots.append(Path("runs"))
    return list(dict.fromkeys(root.absolute() for root in roots)), message
