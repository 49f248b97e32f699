"""Variables of the user's shell in the paths of profiles and job files: expanded when a job is made, or refused."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hpcdl.cluster import choose_cluster, load_cluster
from hpcdl.contract.spec import BackboneSpec
from hpcdl.errors import ClusterError, JobError
from hpcdl.job import load_job
from hpcdl.submission.prepare import prepare

PROFILE = """name: a
node: {cpus: 4, gpus: 1}
images: {tensorflow: $WORK/tf.sif, other: {path: "${WORK}/o.sif"}}
data_root: ${SCRATCH}/data
runs_root: $SCRATCH/{user}/runs
binds: ["$WORK:$WORK", "$SCRATCH/x:/x:ro"]
host_python: $WORK/venv/bin/python
module_init: $WORK/init.sh
scratch: $TMPDIR
"""
pytestmark = pytest.mark.cases("C8")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Two folders that the user's shell names."""
    for name in ("SCRATCH", "WORK"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("USER", "ada")
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder, name, text):
    (folder / name).write_text(text)
    return folder / name


def test_profile_variables_expanded(places):
    cluster = load_cluster(written(places, "site.yaml", PROFILE))

    work, scratch = places / "WORK", places / "SCRATCH"
    assert {name: image.path for name, image in cluster.images.items()} == {
        "tensorflow": f"{work}/tf.sif", "other": f"{work}/o.sif",
    }  # fmt: skip
    assert (cluster.data_root, cluster.runs_root) == (f"{scratch}/data", f"{scratch}/ada/runs")
    assert cluster.binds == [f"{work}:{work}", f"{scratch}/x:/x:ro"]
    assert (cluster.host_python, cluster.module_init) == (
        f"{work}/venv/bin/python",
        f"{work}/init.sh",
    )
    assert cluster.scratch == "$TMPDIR", "the node's own"


def test_overrides_are_expanded(places):
    site = written(places, "site.yaml", PROFILE)

    assert load_cluster(site, ["cluster.runs_root=$WORK/runs"]).runs_root == str(
        places / "WORK/runs"
    )


@pytest.mark.parametrize(
    ("sets", "key", "part"),
    [
        (
            "cluster.runs_root=$NOWHERE/runs",
            "runs_root",
            "$NOWHERE is not set in this shell; set NOWHERE",
        ),
        ("cluster.runs_root=$EMPTY/runs", "runs_root", "$EMPTY is empty"),
        (
            "cluster.data_root=${SCRATCH:-/tmp}",
            "data_root",
            "is not a variable's name; expected $NAME or ${NAME}",
        ),
        ("cluster.binds=['$NOWHERE']", "binds", "$NOWHERE is not set"),
        (
            "cluster.images={tensorflow: '${NOWHERE}/a.sif'}",
            "images.tensorflow",
            "${NOWHERE} is not set",
        ),
        ("cluster.runs_root=$TMPDIR/runs", "runs_root", "is set again on each node"),
        ("cluster.binds=['$SLURM_JOB_ID']", "binds", "is set again on each node"),
    ],
)
def test_profile_variables_refused(places, monkeypatch, sets, key, part):
    monkeypatch.delenv("NOWHERE", raising=False)
    monkeypatch.setenv("EMPTY", "")

    with pytest.raises(ClusterError) as caught:
        load_cluster(written(places, "site.yaml", PROFILE), [sets])
    (problem,) = caught.value.problems
    assert problem.key == key
    assert part in problem.message


def test_profile_named_by_a_variable(places, monkeypatch):
    """The user's own config.yaml names a profile's file."""
    site = written(places / "WORK", "site.yaml", PROFILE)
    (places / "config/hpcdl").mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(places / "config"))
    monkeypatch.delenv("HPCDL_CLUSTER", raising=False)
    written(places, "config/hpcdl/config.yaml", "cluster: $WORK/site.yaml\n")
    assert choose_cluster(None) == str(site)

    monkeypatch.delenv("WORK")
    with pytest.raises(ClusterError, match=r"\$WORK is not set in this shell"):
        choose_cluster(None)


def test_job_variables_expanded(places):
    work = places / "WORK"
    for name in ("t.py", "more.txt", "req.txt"):
        written(work, name, "numpy\n" if name == "req.txt" else "")
    text = "name: a\nscript: $WORK/t.py\nworkdir: ${WORK}\nfiles: [$WORK/more.txt]\npackages: $WORK/req.txt\n"
    written(
        places, "a.yaml", f"{text}pythonpath: [$WORK]\ncontainer: $WORK/tf.sif\nargs: [$WORK]\n"
    )

    job = load_job(places / "a.yaml")

    assert (job.script, job.workdir, job.files) == (f"{work}/t.py", f"{work}", [f"{work}/more.txt"])
    assert (job.packages, job.pythonpath) == (f"{work}/req.txt", [f"{work}"])
    assert job.container == f"{work}/tf.sif"
    assert job.args == ["$WORK"], "the program's own business"


def test_training_paths_expanded(places):
    model = "{backbone: MobileNetV2, weights: $WORK/w.h5, features_cache: $SCRATCH/f}"
    written(places, "a.yaml", f"name: a\ndata: {{path: $SCRATCH/set}}\nmodel: {model}\n")

    job = load_job(places / "a.yaml")

    assert job.data is not None and job.data.path == str(places / "SCRATCH/set")
    assert isinstance(job.model, BackboneSpec)
    assert job.model.weights == str(places / "WORK/w.h5")
    assert job.model.features_cache == str(places / "SCRATCH/f")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("script: $NOWHERE/t.py\n", "script"),
        ("script: t.py\nworkdir: $NOWHERE\n", "workdir"),
        ("script: t.py\nfiles: ['${NOWHERE}/a']\n", "files[0]"),
        ("script: t.py\ncontainer: $NOWHERE\n", "container"),
        ("data: {path: $NOWHERE/a}\nmodel: {name: mlp}\n", "data.path"),
        ("data: {name: a}\nmodel: {backbone: VGG16, weights: $NOWHERE/w.h5}\n", "model.weights"),
    ],
)
def test_job_variables_refused(places, monkeypatch, text, key):
    monkeypatch.delenv("NOWHERE", raising=False)
    written(places, "t.py", "")

    with pytest.raises(JobError) as caught:
        load_job(written(places, "a.yaml", f"name: a\n{text}"))
    problems = [(problem.key, problem.message) for problem in caught.value.problems]
    assert [name for name, _ in problems] == [key]
    assert "is not set in this shell" in problems[0][1]


def test_other_dollar_signs_are_kept(places):
    written(places, "a$1.py", "")

    assert load_job(written(places, "a.yaml", "name: a\nscript: a$1.py\n")).script == str(
        places / "a$1.py"
    )


def test_variable_never_names_a_folder(places):
    """Nothing in what is sent, and no folder that is made, has the variable's name."""
    written(places, "t.py", "")
    site = written(places, "site.yaml", PROFILE)
    job = written(places, "a.yaml", "name: a\nscript: t.py\n")

    script = prepare(load_job(job), load_cluster(site)).script

    assert script is not None and "$SCRATCH" not in script
    assert f"{places}/SCRATCH/ada/runs/a/" in script
    (places / "bin").mkdir()
    written(places, "bin/sbatch", "#!/bin/sh\necho 4711\n").chmod(0o755)
    env = {**os.environ, "PATH": f"{places}/bin:{os.environ['PATH']}"}
    command = [
        sys.executable,
        "-m",
        "hpcdl",
        "submit",
        str(job),
        "--cluster",
        str(site),
        "--no-check",
    ]
    subprocess.run(command, check=True, env=env, capture_output=True)
    assert list((places / "SCRATCH/ada/runs/a").iterdir())
    assert not [path for path in places.rglob("*") if "$" in path.name]


@pytest.mark.parametrize(
    "text", ["$(pwd)/runs", "`pwd`/runs", "$$/runs", "~nobody-has-this-name/runs"]
)
def test_shell_texts_are_refused(places, text):
    """They would make a folder of that very name."""
    profile = PROFILE.replace("$SCRATCH/{user}/runs", f"'{text}'")

    with pytest.raises(ClusterError, match="write the path itself"):
        load_cluster(written(places, "site.yaml", profile))


def test_folder_with_shell_characters(places):
    """A folder may have any name; one that is there is the one that is meant."""
    (places / "a $(b) `c`").mkdir()
    profile = PROFILE.replace("$SCRATCH/{user}/runs", f"'{places}/a $(b) `c`/runs'")

    assert (
        load_cluster(written(places, "site.yaml", profile)).runs_root == f"{places}/a $(b) `c`/runs"
    )
