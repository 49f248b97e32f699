"""What surrounds `hpcdl submit` does not reach the job: an outer job, a poisoned home, a full /tmp, a group's umask."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_disk import SmallDisk

from tests.hostile import ENVIRONMENT, WORST
from tests.testbed.conftest import LOGIN, VENV, Bed, Run, new_bed, site_packages, until

pytestmark = pytest.mark.testbed

SECRET = "hunter2-6f1c9a"

# Writes down what it sees, with its caches used, and stays until it has been looked at from outside.
PROBE = """
import json, os, sys, tempfile, time
import numpy
caches = ["HOME", "KERAS_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "CUDA_CACHE_PATH", "TMPDIR"]
for folder in map(os.environ.get, caches):
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"x" * 4096)
seen = {
    "argv": sys.argv, "path": sys.path, "cwd": os.getcwd(), "numpy": numpy.__file__, "umask": os.umask(0o022),
    "environ": dict(os.environ), "caches": {name: os.environ[name] for name in caches}, "tmp": os.listdir("/tmp"),
}
with open("seen.new", "w") as file:
    json.dump(seen, file)
os.rename("seen.new", "seen.json")
while not os.path.exists("go"):
    time.sleep(0.1)
"""
PROBE_JOB = """
name: probe
container: tensorflow
resources: {gpus: 0, cpus: 1, time: "00:10:00"}
script: probe.py
args: [--epochs, "3"]
env: {GREETING: hello}
"""
TRAINING = """
name: small
resources: {gpus: 0, cpus: 2, time: "00:10:00"}
data: {name: mnist}
model: {name: mlp, dense: [16]}
train: {epochs: 1, batch_size: 1000}
"""

# What an outer job, a notebook or a container leaves in a shell, each with a value that does harm
LEAKED = {
    "SLURM_JOB_ID": "1", "SLURM_JOBID": "1", "SLURM_ARRAY_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_CPU_BIND": "quiet,mask_cpu:0x1", "SLURM_MEM_PER_CPU": "1", "SLURM_MEM_PER_NODE": "1", "SLURM_NTASKS": "64",
    "SLURM_CPUS_PER_TASK": "79", "SLURM_TIME_FORMAT": "relative",
    "SBATCH_ACCOUNT": "nobody", "SBATCH_PARTITION": "none", "SBATCH_QOS": "none", "SBATCH_EXPORT": "NONE",
    "SBATCH_TIMELIMIT": "1", "SBATCH_GET_USER_ENV": "1", "SBATCH_ARRAY_INX": "1-9", "SBATCH_NO_REQUEUE": "1",
    "SBATCH_HINT": "nomultithread", "SBATCH_WAIT": "1", "SBATCH_CLUSTERS": "elsewhere",
    "SRUN_CPUS_PER_TASK": "1", "SQUEUE_STATES": "TIMEOUT", "SQUEUE_PARTITION": "none", "SQUEUE_FORMAT": "x",
    "PMI_RANK": "3", "PMIX_RANK": "3", "OMPI_COMM_WORLD_SIZE": "8", "MASTER_ADDR": "nowhere", "MASTER_PORT": "1",
    "TF_CONFIG": "{", "CUDA_VISIBLE_DEVICES": "7", "XLA_FLAGS": "--no_such_flag", "OMP_NUM_THREADS": "999",
    "APPTAINERENV_X": "1", "SINGULARITYENV_PREPEND_PATH": "/nowhere", "APPTAINER_BIND": "/nowhere",
    "SINGULARITY_BIND": "/nowhere", "APPTAINER_CACHEDIR": "/nowhere", "APPTAINER_TMPDIR": "/nowhere",
    "APPTAINER_CONTAINALL": "1", "APPTAINER_NV": "1", "SINGULARITY_NAME": "outer.sif",
    "PYTHONSTARTUP": "/nowhere", "LD_LIBRARY_PATH": "/nowhere", "PERL5LIB": "/nowhere", "TMPDIR": "/nowhere",
    "KERAS_HOME": "/nowhere", "MPLCONFIGDIR": "/nowhere", "HTTP_PROXY": "http://nowhere:1", "CONDA_PREFIX": "/nowhere",
    "MY_TOKEN": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET,
}  # fmt: skip

# What a job may inherit from an outer one: its module command, with MANPATH where it is a newer one
INHERITED = re.compile("_*MODULE|BASH_FUNC_|(HOSTNAME|MANPATH|_)$")


def look_from_outside(run: Run) -> dict[str, dict[str, str]]:
    """The environment of each host process of a job, by its program's name."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            argv = (process / "cmdline").read_bytes().decode().split("\0")
            pairs = (process / "environ").read_bytes().decode().split("\0")
        except OSError:
            continue
        environ = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        if environ.get("SLURM_JOB_ID") == run.job_id:
            found["worker" if "hpcdl.worker" in argv else Path(argv[0]).name] = environ
    return found


def finish(run: Run) -> dict[str, Any]:
    """What a probe saw, itself and from outside, with what no two runs share named alike."""
    until(lambda: (run.path / "work/seen.json").exists() or (run.path / "result.json").exists())
    assert (run.path / "work/seen.json").exists(), run.log()
    outside = look_from_outside(run)
    told = subprocess.run(
        ["scontrol", "show", "job", run.job_id], capture_output=True, text=True, check=True
    ).stdout
    (run.path / "work/go").touch()
    assert run.wait()["state"] == "done", run.log()
    assert {"worker", "bash"} <= set(outside)
    inside = json.loads((run.path / "work/seen.json").read_text())
    assert re.fullmatch(r"\d{10}", inside["environ"]["HPCDL_END_TIME"])
    inside["environ"]["HPCDL_END_TIME"] = "END"
    seen = {
        "inside": inside,
        "outside": outside,
        "told": told,
    }
    text = json.dumps(seen).replace(str(run.path), "RUN").replace(run.job_id, "JOB")
    text = text.replace(run.json("manifest.json")["code"]["folder"], "CODE")
    for name in ("probe.py", "job.yaml"):
        text = text.replace(str(run.bed.folder / name), name)
    return dict(json.loads(re.sub(r"/hpcdl-[a-z0-9_]{8}", "/TMP", text)))


def start_probe(bed: Bed) -> Run:
    bed.write("probe.py", PROBE)
    return bed.submit(bed.write("probe.yaml", PROBE_JOB))


@pytest.fixture(scope="module")
def clean(cluster: None) -> Iterator[dict[str, Any]]:
    """What a probe sees that was submitted from a clean login shell, and the result of a training."""
    bed = new_bed("test-hygiene-clean")
    training = bed.submit(bed.write("small.yaml", TRAINING))
    yield {**finish(start_probe(bed)), "result": training.wait()}
    shutil.rmtree(bed.folder, ignore_errors=True)


def poisoned_home(bed: Bed) -> dict[str, str]:
    """A home and a PYTHONPATH that do harm where they are read, and tell of it in the file `canary`."""
    canary = bed.folder / "canary"
    tell = f"echo $0 $$ >> {canary}\nexport PATH=/nowhere PYTHONHOME=/nowhere PYTHONPATH=/nowhere\n"
    for name in (".bash_profile", ".bash_login", ".profile", ".bashrc", ".bash_env"):
        bed.write(f"home/{name}", tell)
    packages = f"home/.local/{site_packages()}"
    shadow = f"import sys\nsys.path.insert(0, {str(bed.folder / packages)!r})\n"
    harm = f"{shadow}print(sys.argv, file=open({str(canary)!r}, 'a'))\n"
    for name in ("usercustomize.py", "sitecustomize.py"):
        bed.write(f"{packages}/{name}", harm)
    for name in ("numpy", "submitit", "msgspec", "tensorflow"):
        bed.write(f"{packages}/{name}.py", "raise ImportError('poison')\n")
    # Python itself reads this where hpcdl is started, so it tells in which job it was read.
    told = str(bed.folder / "path-canary")
    bed.write(
        "path/sitecustomize.py",
        f"import os\nprint(os.environ.get('SLURM_JOB_ID'), file=open({told!r}, 'a'))\n",
    )
    return {
        "HOME": str(bed.folder / "home"),
        "BASH_ENV": str(bed.folder / "home/.bash_env"),
        "ENV": str(bed.folder / "home/.bash_env"),
        "PYTHONPATH": str(bed.folder / "path"),
        "XDG_CACHE_HOME": "/home/hpcuser/.cache",  # what is known of the images
    }


def python_with_user_site(bed: Bed) -> str:
    """The path of a Python that has hpcdl's packages and looks into ~/.local, as one of a module does."""
    bed.run("python3", "-m", "venv", "--system-site-packages", "--without-pip", "py")
    bed.write(f"py/{site_packages()}/other.pth", f"{VENV.parent}/{site_packages()}\n")
    return str(bed.folder / "py/bin/python")


def test_poisoned_shell_changes_no_job(clean: dict[str, Any], bed: Bed) -> None:
    """Submitted inside another job, with hostile variables, a job has the same environment."""
    bed.write("probe.py", PROBE)
    bed.write("probe.yaml", PROBE_JOB)
    bed.write("small.yaml", TRAINING)
    options = (
        "--cluster",
        bed.profile,
        "--runs-dir",
        bed.runs,
        "--set",
        f"cluster.host_python={python_with_user_site(bed)}",
    )
    leaked = {**LEAKED, **poisoned_home(bed), "SLURM_CONF": "/etc/slurm/slurm.conf"}
    lines = ["#!/bin/bash", "set -e"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in leaked.items()]
    lines += [
        shlex.join(map(str, ["hpcdl", "submit", job, *options]))
        for job in ("small.yaml", "probe.yaml")
    ]
    bed.write("outer.sh", "\n".join([*lines, ""]))
    outer = bed.run(
        "sbatch",
        "--parsable",
        "--wait",
        "-A",
        "nct00",
        "-o",
        "outer.out",
        "-e",
        "outer.err",
        "outer.sh",
        check=False,
    )
    paths = (bed.folder / "outer.out").read_text().split()
    assert len(paths) == 2, (outer.stderr, (bed.folder / "outer.err").read_text())
    training, probe = (Run(bed, Path(path)) for path in paths)

    seen, result = finish(probe), training.wait()

    assert seen["inside"] == clean["inside"]
    for process in ("bash", "worker"):
        was, now = (
            {k: v for k, v in one["outside"][process].items() if not INHERITED.match(k)}
            for one in (clean, seen)
        )
        assert now["SLURM_CONF"] == "/etc/slurm/slurm.conf"
        assert {*now} - {"SLURM_CONF"} == {*was} - {"SLURM_CONF"}
        expected = {**was, "HOME": leaked["HOME"]}
        assert {k: v for k, v in now.items() if not k.startswith("SLURM")} == {
            k: v for k, v in expected.items() if not k.startswith("SLURM")
        }
    for key in ("model", "test", "validation", "epochs_run", "versions"):
        assert result[key] == clean["result"][key]
    assert not (bed.folder / "canary").exists(), (bed.folder / "canary").read_text()
    assert not {probe.job_id, training.job_id} & set(
        (bed.folder / "path-canary").read_text().split()
    )
    assert SECRET not in json.dumps(seen)
    found = subprocess.run(["grep", "-rlaF", SECRET, bed.runs], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (1, "")


def test_job_has_private_caches(clean: dict[str, Any]) -> None:
    """Caches lie in the run's home, and packages are imported from the image alone."""
    inside = clean["inside"]
    places = inside["caches"]
    assert places.pop("TMPDIR") == "/tmp"  # noqa: S108
    assert inside["tmp"] == []
    assert all(place.startswith("RUN/home") for place in places.values()), places
    assert inside["environ"]["PYTHONNOUSERSITE"] == "1"
    assert "PYTHONHOME" not in inside["environ"]
    assert (
        inside["environ"]["PYTHONPATH"] == "CODE/hpcdl_support"
    )  # where plt.show() is made a file
    assert inside["numpy"].startswith("/usr/local/lib/python3.11/")
    assert not [folder for folder in inside["path"] if folder.startswith("/home")]
    assert "export" not in clean["told"].lower()


def test_slurm_output_in_odd_shell(bed: Bed) -> None:
    """Variables that change the output of SLURM's commands do not confuse hpcdl."""
    bed.write("program.py", "print(1)\n")
    job = bed.write(
        "job.yaml",
        "name: waits\ncontainer: python\nresources: {gpus: 0}\nscript: program.py\nslurm: {begin: now+1hour}\n",
    )
    bed.environment |= {
        **LEAKED,
        "SCANCEL_STATE": "RUNNING",
        "SCANCEL_INTERACTIVE": "1",
        "SACCT_FORMAT": "User",
    }
    run = bed.submit(job)
    assert until(lambda: run.status()["note"]).startswith("BeginTime: ")
    bed.run("hpcdl", "cancel", run.path)
    argv = ["sacct", "-n", "-X", "-P", "-o", "State", "-j", run.job_id]
    until(
        lambda: (
            "CANCELLED" in subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        )
    )


def test_hpcdl_from_user_site_runs_jobs(bed: Bed) -> None:
    """hpcdl installed with pip --user needs no host_python."""
    packages = bed.folder / "home/.local" / site_packages()
    packages.parent.mkdir(parents=True)
    shutil.chown(bed.folder / "home", "hpcuser")
    packages.symlink_to(VENV.parent / site_packages())
    bed.profile.write_text(
        re.sub("^host_python: .*\n", "", bed.profile.read_text(), flags=re.MULTILINE)
    )
    bed.write("program.py", "print('hello')\n")
    bed.write(
        "job.yaml", "name: user-site\ncontainer: python\nresources: {gpus: 0}\nscript: program.py\n"
    )
    bed.environment |= {"HOME": str(bed.folder / "home"), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    argv = [
        "python3",
        "-m",
        "hpcdl",
        "submit",
        "job.yaml",
        "--cluster",
        bed.profile,
        "--runs-dir",
        bed.runs,
    ]

    run = Run(bed, Path(bed.run(*argv).stdout.strip()))

    bed.environment = dict(LOGIN)
    assert run.wait()["state"] == "done"
    assert "    /usr/bin/python3 -u -m hpcdl.worker " in (run.path / "script.sbatch").read_text()


@pytest.fixture
def full_disk(bed: Bed) -> Iterator[Path]:
    disk = SmallDisk(bed.folder / "disk")
    disk.root.chmod(0o1777)
    disk.fill()
    yield disk.root
    disk.remove()


def test_full_tmp_changes_nothing(clean: dict[str, Any], bed: Bed, full_disk: Path) -> None:
    """The temporary folder is full on the login node and on the compute node."""
    bed.write("probe.py", PROBE.replace('"TMPDIR"', ""))
    bed.write("probe.yaml", PROBE_JOB)
    words = ["hpcdl", "submit", "probe.yaml", "--cluster", bed.profile, "--runs-dir", bed.runs]
    full_tmp = 'mount --bind "$0" /tmp && exec "$@"'
    argv = bed.command(*words, "--set", f"cluster.scratch={full_disk}")

    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", full_tmp, full_disk, *argv],
        cwd=bed.folder,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    seen = finish(Run(bed, Path(done.stdout.strip())))
    assert seen["inside"]["environ"] == clean["inside"]["environ"]


def test_hostile_words_arrive_unchanged(bed: Bed) -> None:
    """Arguments and variables pass through sbatch and Apptainer without being run."""
    names = [f"V{i}" for i in range(len(WORST))]
    bed.write(
        "program.py",
        "import json, os, sys\njson.dump([sys.argv[1:], dict(os.environ)], open('seen.json', 'w'))\n",
    )
    job = {
        "name": "hostile", "container": "python", "resources": {"gpus": 0}, "script": "program.py", "args": WORST,
        "env": dict(zip(names, WORST, strict=True)) | ENVIRONMENT,
        "slurm": {"comment": "a 'b' $(touch pwned) `id` é ; #"},
    }  # fmt: skip
    run = bed.submit(bed.write("job.yaml", yaml.safe_dump(job)))
    assert run.wait()["state"] == "done", run.log()
    args, environ = json.loads((run.path / "work/seen.json").read_text())
    assert args == WORST
    code = run.json("manifest.json")["code"]["folder"]
    own = f":{code}/hpcdl_support"  # hpcdl's own folder comes last
    environ["PYTHONPATH"] = environ["PYTHONPATH"].removesuffix(own)
    assert {name: environ.get(name) for name in job["env"]} == job["env"]
    assert not list(bed.folder.rglob("pwned"))


HELD = (
    "name: held\ncontainer: python\nresources: {gpus: 0}\nscript: program.py\nslurm: {hold: ''}\n"
)


def pickle_of(run: Run) -> Path:
    return run.path / "submitit" / f"{run.job_id}_submitted.pkl"


def make_group_writable(run: Run) -> None:
    pickle_of(run).chmod(0o660)


def give_away(run: Run) -> None:
    shutil.chown(pickle_of(run), "hpcdata")
    pickle_of(run).chmod(0o644)


def open_the_folder(run: Run) -> None:
    pickle_of(run).parent.chmod(0o2770)


def open_the_run(run: Run) -> None:
    run.path.chmod(0o777)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (make_group_writable, "_submitted.pkl can be written by others (mode 660)"),
        (give_away, "_submitted.pkl belongs to user "),
        (open_the_folder, "/submitit can be written by others (mode 2770)"),
        (open_the_run, " can be written by others (mode 777)"),
    ],
)
def test_pickle_writable_by_others_is_refused(bed: Bed, spoil: Any, words: str) -> None:
    bed.write("program.py", "print('hello')\n")
    run = bed.submit(bed.write("job.yaml", HELD))
    spoil(run)
    bed.run("scontrol", "release", run.job_id)

    waited = bed.run("hpcdl", "wait", run.path, check=False)

    assert waited.returncode == 1
    assert "failed: internal" in waited.stderr
    assert words in waited.stderr
    assert not (run.path / "attempts.jsonl").exists()


def test_run_in_group_folder_is_private(bed: Bed) -> None:
    """Only the user can write in the run, whatever the folder's ACL says."""
    shared = bed.folder / "shared"
    shared.mkdir()
    shutil.chown(shared, "hpcuser")
    shared.chmod(0o2775)
    if shutil.which("setfacl"):
        subprocess.run(
            ["setfacl", "-m", "g:hpcdata:rwx", "-m", "d:g:hpcdata:rwx", shared], check=True
        )
    bed.write("program.py", "print('hello')\n")
    bed.write(
        "job.yaml", "name: shared\ncontainer: python\nresources: {gpus: 0}\nscript: program.py\n"
    )
    words = f"umask 002; exec hpcdl submit job.yaml --cluster {bed.profile} --runs-dir {shared}"
    run = Run(bed, Path(bed.run("bash", "-c", words).stdout.strip()))
    assert pickle_of(run).parent.stat().st_mode & 0o777 == 0o700, "it goes when the run is done"
    assert run.wait()["state"] == "done", run.log()
    assert run.path.parent.stat().st_mode & 0o7777 == 0o2775, "the group may make runs beside it"
    for path in (
        run.path,
        run.path / "user",
        run.path / "logs",
        *(shared / ".code").glob("*/hpcdl/run"),
    ):
        assert not path.stat().st_mode & 0o022, path
