"""The files and folders of a job's backbone: absolute in run.json, and shown to the container on the node."""

from __future__ import annotations

import pytest

from hpcdl.cluster import Cluster, Image, Node
from hpcdl.errors import JobError
from hpcdl.job import load_job
from hpcdl.launch.command import places_of
from hpcdl.planning import plan
from hpcdl.run.paths import RunPaths
from hpcdl.submission.locate import run_spec

JOB = "name: a\nresources: {gpus: 0}\ndata: {name: tiny}\nmodel: {backbone: VGG16}\n"


@pytest.fixture
def binds(tmp_path):
    """What a job's container is shown, beside the run itself and hpcdl's code."""
    (tmp_path / "data" / "models").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "job.yaml").write_text(JOB)
    image = {"tensorflow": Image(f"{tmp_path}/image.sif")}
    site = Cluster(name="site", node=Node(cpus=4), images=image, data_root=f"{tmp_path}/data")

    def of(*sets):
        job = load_job(tmp_path / "job.yaml", list(sets))
        spec = run_spec(job, site)
        assert spec is not None
        (tmp_path / "run" / "run.json").write_text(spec.to_json())
        return places_of(RunPaths(tmp_path / "run"), plan(job, site)).binds[2:]

    return of


@pytest.mark.parametrize("weights", ["imagenet", "none", "data/models/mine.h5"])
def test_staged_weights_need_no_bind(binds, tmp_path, weights):
    assert binds(f"model.weights={weights}") == [f"{tmp_path}/data:{tmp_path}/data:ro"]


def test_weights_file_folder_is_bound(binds, tmp_path):
    """The container sees the folder that holds the file of model.weights."""
    (tmp_path / "mine").mkdir()

    assert binds("model.weights=mine/weights.h5")[1:] == [f"{tmp_path}/mine:{tmp_path}/mine:ro"]


def test_features_cache_is_bound_writable(binds, tmp_path):
    """The cache folder is made if missing."""
    assert binds("model.features_cache=../kept/here")[1:] == [f"{tmp_path.parent}/kept/here"]
    assert (tmp_path.parent / "kept" / "here").is_dir()


def test_impossible_features_cache_is_not_bound(binds, tmp_path):
    """A cache folder that cannot be made gets no bind; the run works without it."""
    (tmp_path / "file").touch()

    assert binds("model.features_cache=file/cache")[1:] == []


def test_unbindable_paths_are_refused(binds):
    """Paths with ':' or ',' cannot be bound: each is a problem with its key."""
    with pytest.raises(JobError) as fault:
        binds("model.weights=a:b.h5", "model.features_cache=c,d")

    assert [problem.key for problem in fault.value.problems] == [
        "model.weights",
        "model.features_cache",
    ]
