"""What is said once counts: init's file, ./hpcdl.yaml and the job's own keys, on a real cluster."""

from __future__ import annotations

import pytest

from tests.testbed.conftest import Bed, Run

pytestmark = pytest.mark.testbed

SCRIPT = """import os
print("inside:", {name: os.environ.get(name) for name in ("SLURMD_NODENAME", "SLURM_JOB_QOS", "HPCDL_NOT_SET")})
"""
JOB = """name: settings
script: look.py
container: python
resources: {gpus: 0, cpus: 1, time: "00:02:00"}
cluster: {qos: high}
"""
FOLDER = """profiles:
  testbed:
    qos: acc_debug
    max_requeues: 3
    pass_env: [SLURMD_NODENAME, SLURM_JOB_QOS, HPCDL_NOT_SET]
"""


def test_job_combines_all_settings_files(bed: Bed) -> None:
    """User's settings, folder's settings, job file and options each decide a key."""
    bed.environment["XDG_CONFIG_HOME"] = str(bed.folder / "config")
    bed.write("look.py", SCRIPT)
    bed.write("job.yaml", JOB)
    bed.write("hpcdl.yaml", FOLDER)

    made = bed.run(
        "hpcdl", "init", "--cluster", bed.profile, "--set", f"runs_root={bed.runs}", "--yes"
    )
    shown = bed.run("hpcdl", "cluster", "show").stdout
    done = bed.run("hpcdl", "submit", "job.yaml", "--wait")

    assert made.stdout == f"{bed.folder}/config/hpcdl/config.yaml\n"
    assert f"runs_root: {bed.runs} " in shown
    run = Run(bed, next((bed.runs / "settings").iterdir()))
    assert str(run.path) in done.stdout
    assert run.json("plan.json")["policy"]["max_requeues"] == 3
    log = run.log()
    assert "inside: {'SLURMD_NODENAME': 'n" in log
    assert "'SLURM_JOB_QOS': 'high', 'HPCDL_NOT_SET': None}" in log


def test_rendered_script_passes_the_same(bed: Bed) -> None:
    bed.write("look.py", SCRIPT)
    bed.write("job.yaml", JOB)
    bed.write("hpcdl.yaml", FOLDER)
    bed.environment["XDG_CONFIG_HOME"] = str(bed.folder / "config")

    bed.run("hpcdl", "render", "job.yaml", "--cluster", bed.profile, "-o", "job.sbatch")
    bed.run("sbatch", "--wait", "job.sbatch")

    (log,) = bed.folder.glob("settings.*.out")
    assert "'SLURM_JOB_QOS': 'high', 'HPCDL_NOT_SET': None}" in log.read_text()


def test_accounts_come_from_slurm(bed: Bed) -> None:
    bed.environment["XDG_CONFIG_HOME"] = str(bed.folder / "config")
    bed.write(
        "site.yaml",
        "name: mine\nnode: {cpus: 80, gpus: 4}\ndata_root: '/gpfs/scratch/{account}/data'\n",
    )

    told = bed.run("hpcdl", "init", "--cluster", "site.yaml", "--yes")

    assert "account nct00\n" in told.stderr
    assert "    account: nct00\n" in (bed.folder / "config" / "hpcdl" / "config.yaml").read_text()
