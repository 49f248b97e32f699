"""The built-in profiles of sites, and an environment in which each of them can be read anywhere."""

from __future__ import annotations

import pytest

from hpcdl.cluster import built_in_profiles

SITES = [name for name in built_in_profiles() if name not in ("generic", "local")]
ACCOUNT = "cluster.account=nct00"
# Variables that a login shell sets at some of the sites; a user and a home that do not depend on this machine
VARIABLES = {
    "PROJECTDIR": "/projects/nct00",
    "SCRATCH": "/scratch/ada",
    "SINGULARITY_ALLOWED_DIR": "/singularity/images/ada",
    "VSC_DATA": "/data/leuven/ada",
    "VSC_SCRATCH": "/scratch/leuven/ada",
    "WORK": "/work/nct00",
    "HOME": "/home/ada",
    "LOGNAME": "ada",
}


def at_a_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what the sites' login shells set."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
