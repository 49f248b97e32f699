"""What `hpcdl data stage` fetches works offline in both TensorFlow images: by Keras's own names, and by hpcdl's."""

from __future__ import annotations

import json

import pytest

from hpcdl.staging import catalogue
from hpcdl.staging.stage import stage
from tests.staging.conftest import HDF5, Site, archive_of, cifar10_members, sha256, site
from tests.testbed.conftest import Bed, new_bed

pytestmark = pytest.mark.testbed
__all__ = ["site"]  # a fixture

NASNET = "nasnet_mobile_no_top.h5"
# The real archives are not here: Keras's own check of their checksums is taken out, and nothing else.
PROGRAM = f"""
import json
import tensorflow as tf
try:
    from keras.src.utils import file_utils as files
except ImportError:
    from keras.utils import data_utils as files
files.validate_file = lambda *args, **others: True
(x, y), (x_test, y_test) = tf.keras.datasets.cifar10.load_data()
weights = tf.keras.utils.get_file("{NASNET}", "http://127.0.0.1:9/none", cache_subdir="models")
print(json.dumps({{
    "cifar10": [list(x.shape), list(y.shape), list(x_test.shape), str(x.dtype)],
    "greys": x[[0, 1, 49999], 31, 31, 2].tolist(), "labels": y[[0, 1, 49999], 0].tolist(),
    "weights": open(weights, "rb").read(4).hex(),
}}))
"""
SCRIPT = "name: cifar\nresources: {gpus: 1, time: 00:10:00}\nscript: program.py\n"
TRAINING = """
name: cifar
resources: {gpus: 1, time: 00:10:00}
data: {name: cifar10}
model: {name: mlp, dense: [4]}
train: {epochs: 1, batch_size: 1000}
"""


@pytest.fixture
def mine(cluster: None) -> Bed:
    """A folder with the jobs, and no data yet."""
    bed = new_bed("test-staged-data")
    bed.write("program.py", PROGRAM)
    bed.write("script.yaml", SCRIPT)
    bed.write("training.yaml", TRAINING)
    return bed


@pytest.fixture
def staged(mine: Bed, site: Site, monkeypatch: pytest.MonkeyPatch) -> Bed:
    """Its data_root filled from a server; CIFAR-10 has its real sizes."""
    archive = archive_of(cifar10_members(rows=10000))
    site.files.update(
        {"cifar-10-python.tar.gz": archive, "NASNet-mobile-no-top.h5": HDF5 + b"weights"}
    )
    (source,) = catalogue.SETS["cifar10"]
    published = catalogue.Source(source.file, source.url, sha256(archive))
    monkeypatch.setitem(catalogue.SETS, "cifar10", (published,))
    weights = catalogue.Source(
        NASNET, "http://x/NASNet-mobile-no-top.h5", sha256(HDF5 + b"weights")
    )
    monkeypatch.setattr("hpcdl.staging.request.sources", lambda *_: [weights])
    stage("cifar10", mine.folder / "data", mirror=site.url)
    stage("weights/NASNetMobile", mine.folder / "data", mirror=site.url)
    return mine


def test_fetched_data_works_offline(staged: Bed) -> None:
    """Sets and weights serve scripts and a training in both images without a network."""
    root = ("--set", f"cluster.data_root={staged.folder}/data")
    scripts = []
    for name in (
        "tensorflow",
        "tf2.11",
    ):  # hpcdl check would say that the archive is not Keras's own
        scripts.append(
            staged.submit("script.yaml", *root, "--set", f"container={name}", "--no-check")
        )
    training = staged.submit("training.yaml", *root)

    for run in scripts:
        assert run.wait()["state"] == "done", run.log()
        assert json.loads(run.log().splitlines()[-1]) == {
            "cifar10": [[50000, 32, 32, 3], [50000, 1], [10000, 32, 32, 3], "uint8"],
            "greys": [0, 1, 49999 % 256], "labels": [0, 1, 49999 % 256 % 10], "weights": HDF5[:4].hex(),
        }  # fmt: skip
        assert "Downloading" not in run.log()
    assert training.wait()["state"] == "done", training.log()
    assert "50,000 training and 10,000 test images of 32x32x3 (uint8), 10 classes" in training.log()
    assert (
        staged.run("hpcdl", "data", "verify", "--data-root", staged.folder / "data").stdout.count(
            "ok "
        )
        == 4
    )


def test_missing_set_names_staging_command(mine: Bed) -> None:
    """The check and the run itself both show the command."""
    root = f"{mine.folder}/empty"
    words = ("--set", f"cluster.data_root={root}", "--set", "data.name=cifar100")
    checked = mine.run(
        "hpcdl", "check", "training.yaml", "--cluster", mine.profile, *words, check=False
    )
    command = f"on a machine with internet: hpcdl data stage cifar100 --data-root {root}"
    assert checked.returncode == 2
    assert command in checked.stdout + checked.stderr

    run = mine.submit("training.yaml", *words, "--no-check", "--set", "cluster.requeue=false")
    result = run.wait()
    assert (result["state"], result["cause"]) == ("failed", "data")
    assert command in json.dumps(result)
