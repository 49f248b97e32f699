"""`hpcdl cluster discover` on the real site: what it writes is enough to check and run jobs, with nothing added."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.testbed.conftest import IMAGES, VENV, Bed, Run

pytestmark = [pytest.mark.testbed, pytest.mark.second_bed]

PROGRAM = 'import os, sys\nprint("devices:", os.environ.get("CUDA_VISIBLE_DEVICES"), sys.prefix)\n'
SCRIPT = 'name: script\nresources: {gpus: %d, time: "00:05:00"}\ncontainer: python3.11\nscript: program.py\n'
# This site has one container command for all and another behind a module: here the first is not looked for.
BY_MODULE = """
from hpcdl.discover import software
from hpcdl.discover.lines import text
software._COMMANDS = ("singularity",)
print(text(line for line in software.container_lines(print) if line.state == "told"))
"""


def discover(bed: Bed) -> str:
    bed.environment["SCRATCH"] = str(bed.folder)
    bed.run("hpcdl", "cluster", "discover", "-o", "site.yaml", "--images", IMAGES)
    return (bed.folder / "site.yaml").read_text()


def submit(bed: Bed, job: str, *options: str) -> Run:
    done = bed.run("hpcdl", "submit", job, "--cluster", "site.yaml", *options)
    return Run(bed, Path(done.stdout.strip()))


def test_jobs_run_with_discovered_profile(bed: Bed) -> None:
    """A script and a training need no other settings than the discovered ones."""
    values = [line.partition(" #")[0].rstrip() for line in discover(bed).splitlines()]
    for expected in (
        "name: testbed",
        "node: {cpus: 80, gpus: 4, memory_gb: 488}",
        "account: nct00",
        "partition: acc",
        "qos: normal",
        "memory_request: none",
        "runtime: apptainer",
        f"  tensorflow: {IMAGES}/tf2.21-py311.sif",
        f"runs_root: {bed.folder}/hpcdl/runs",
    ):
        assert expected in values
    bed.write("program.py", PROGRAM)
    bed.write("script.yaml", SCRIPT % 2)
    bed.run("hpcdl", "data", "stage", "digits", "--cluster", "site.yaml")
    for job in ("script.yaml", "digits_cnn"):
        bed.run("hpcdl", "check", job, "--cluster", "site.yaml")

    model = submit(bed, "digits_cnn", "--set", "train.epochs=1")
    # Its GPUs are no real ones, which a submitted run would find out on the node; the script alone does not ask.
    bed.run("hpcdl", "render", "script.yaml", "--cluster", "site.yaml", "-o", "script.slurm")
    job_id = bed.run("sbatch", "--parsable", "--wait", "script.slurm").stdout.strip()

    assert re.search(
        r"^devices: \d,\d /usr", (bed.folder / f"script.{job_id}.out").read_text(), re.MULTILINE
    )
    result = model.wait()
    assert (result["state"], result["epochs_run"]) == ("done", 1), model.log()
    assert model.path.is_relative_to(bed.folder / "hpcdl/runs")


def test_container_runtime_from_module(bed: Bed) -> None:
    """The shell here exports no module function, so the file that defines it is found too."""
    discover(bed)
    found = bed.run(VENV / "python", "-c", BY_MODULE).stdout
    assert "asking singularity --version after module load singularity\n" in found
    keys = [line.partition(" #")[0].rstrip() for line in found.splitlines() if ": " in line]
    assert keys == [
        "runtime: singularity",
        "modules: [singularity]",
        "module_init: /usr/share/modules/init/bash",
    ]
    bed.write("program.py", PROGRAM)
    bed.write("script.yaml", SCRIPT % 0)
    sets = [word for key in keys for word in ("--set", f"cluster.{key.replace(': ', '=')}")]

    run = submit(bed, "script.yaml", *sets)

    assert run.wait()["state"] == "done", run.log()
    assert "devices: None /usr" in run.log()
    assert (
        f"source {keys[2].partition(': ')[2]}\nmodule purge\n"
        in (run.path / "script.sbatch").read_text()
    )
