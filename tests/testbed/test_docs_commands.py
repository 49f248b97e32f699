"""The commands of README and docs that are for a login node: a page's run there one after the other, in a new home."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.test_docs import blocks, only_what_the_page_installs, pages_with
from tests.testbed.conftest import IMAGES, Bed

pytestmark = pytest.mark.testbed
# An edit of a page's job file, behind the command that copies it: test_training.py trains its five epochs
EDITS = {"README": ("hpcdl jobs copy mnist_cnn ", 'sed -i "s/epochs: 5/epochs: 1/" mnist_cnn.yaml')}
SINGULARITY = "/opt/hpcdl-testbed/singularity/bin"


@pytest.mark.parametrize("page", pages_with("cluster"), ids=lambda page: page.stem)
def test_cluster_commands_run(bed: Bed, page: Path) -> None:
    bed.profile.rename(bed.folder / "mycluster.yaml")
    (bed.folder / "tensorflow.sif").symlink_to(IMAGES / "tf2.21-py311.sif")
    bed.environment["PATH"] += f":{SINGULARITY}"  # as after `module load singularity`
    home = bed.folder / "home"
    home.mkdir()
    shutil.chown(home, "hpcuser")
    bed.environment.update(
        HOME=str(home), XDG_CACHE_HOME="/home/hpcuser/.cache"
    )  # what the images hold is known there
    if page.stem == "first-job":
        bed.environment.update(only_what_the_page_installs(page, bed.folder / "site"))
    commands = blocks(page, "cluster")
    if page.stem in EDITS:
        commands = edited(commands, *EDITS[page.stem])
    done = bed.run("bash", "-euo", "pipefail", "-c", commands, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def edited(commands: str, copy: str, edit: str) -> str:
    """A page's commands with one more behind the one that begins so."""
    before, begin, after = commands.partition(copy)
    assert begin
    rest_of_line, end, after = after.partition("\n")
    return f"{before}{begin}{rest_of_line}{end}{edit}\n{after}"
