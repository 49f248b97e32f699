"""Cluster profiles: the built-in ones, what is wrong in one with its place, and which one is chosen."""

from __future__ import annotations

import getpass
import socket
from pathlib import Path

import pytest

from hpcdl.cluster import Image, built_in_profiles, choose_cluster, load_cluster
from hpcdl.errors import ClusterError, UserError

TESTBED = Path(__file__).parents[1] / "testbed" / "testbed.yaml"


@pytest.mark.parametrize("name", built_in_profiles())
def test_built_in_loads(name):
    cluster = load_cluster(name, ["cluster.account=nct00"])

    assert cluster.name == name
    assert cluster.description
    assert not cluster.emulate_gpus, "no built-in profile emulates GPUs"


def test_places_filled():
    cluster = load_cluster("marenostrum5", ["cluster.account=nct00"])

    assert cluster.images == {"tensorflow": Image("/gpfs/scratch/nct00/MN5-NGC-TensorFlow-23.03.sif")}
    assert cluster.binds == ["/gpfs/scratch/nct00"]
    assert cluster.runs_root == f"/gpfs/scratch/nct00/{getpass.getuser()}/runs"


def test_home_filled(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")

    cluster = load_cluster("generic")

    assert cluster.data_root == "/home/somebody/hpcdl/data"
    assert cluster.images["tensorflow"].path == "/home/somebody/images/tensorflow.sif"


def test_relative_roots_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    cluster = load_cluster("local", ["cluster.data_root=data", "cluster.runs_root=runs"])

    assert (cluster.data_root, cluster.runs_root) == (str(tmp_path / "data"), str(tmp_path / "runs"))


def test_account_missing():
    with pytest.raises(ClusterError, match=r"profile marenostrum5: account: .*--set cluster\.account=<your group>"):
        load_cluster("marenostrum5")


def test_testbed_emulates_gpus():
    assert load_cluster(TESTBED).emulate_gpus


def test_set_changes_profile():
    sets = ["cluster.node.gpus=8", "cluster.images.other={path: /x.sif, python: python3.9}", "cluster.qos=007"]

    cluster = load_cluster("generic", sets)

    assert cluster.node.gpus == 8
    assert cluster.images["other"] == Image("/x.sif", "python3.9")
    assert "tensorflow" in cluster.images
    assert cluster.qos == "007"


MISTAKES = {
    "unknown-key": ("name: a\nqueue: x\n", ":2", "queue", "unknown key"),
    "misspelt-key": ("name: a\nnode: {cpu: 4}\n", ":2", "node.cpu", "did you mean cpus?"),
    "no-name": ("node: {cpus: 4}\n", ":1", "name", "missing; expected the profile's name"),
    "wrong-type": ("name: a\nnode: {cpus: many}\n", ":2", "node.cpus", "expected a whole number >= 1; got 'many'"),
    "unknown-dialect": ("name: a\ngpu_request: tres\n", ":2", "gpu_request", "one of gres, gpus-per-node"),
    "unknown-memory": ("name: a\nmemory_request: all\n", ":2", "memory_request", "one of none, mem, mem-per-cpu"),
    "image-without-path": ("name: a\nimages:\n  tf: {python: x}\n", ":3", "images.tf.path", "missing; expected path"),
    "image-as-number": ("name: a\nimages: {tf: [1]}\n", ":2", "images.tf", "expected a section with the keys path"),
    "place-unknown": ("name: a\ndata_root: /x/{group}\n", "", "", "only {account} and {user} are known"),
    "account-breaks-line": ('name: a\naccount: "x\\n#SBATCH -p y"\n', ":2", "account", "expected one plain word"),
    "qos-with-space": ("name: a\nqos: a b\n", ":2", "qos", "expected one plain word; got 'a b'"),
    "partition-shell": ("name: a\npartition: $(id)\n", ":2", "partition", "expected one plain word"),
    "gpu-type-quote": ("name: a\ngpu_type: h'100\n", ":2", "gpu_type", "expected one plain word"),
    "name-breaks-line": ('name: "a\\nrm -rf x"\n', ":1", "name", "expected one plain word"),
    "runtime-two-words": ("name: a\nruntime: apptainer -d\n", ":2", "runtime", "expected one plain word"),
    "module-shell": ("name: a\nmodules:\n- ok/1.0\n- 'x; id'\n", ":4", "modules[1]", "expected a module's name"),
    "host-module-dash": ("name: a\nhost_modules: [-f]\n", ":2", "host_modules[0]", "expected a module's name"),
    "not-yaml": ("name: [a\n", ":2", "", "this is not YAML"),
}


@pytest.mark.parametrize(("text", "place", "key", "part"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_has_place(tmp_path, text, place, key, part):
    path = tmp_path / "site.yaml"
    path.write_text(text)

    with pytest.raises(ClusterError) as caught:
        load_cluster(path)

    (problem,) = caught.value.problems
    assert (problem.where, problem.key) == (f"{path}{place}", key)
    assert part in problem.message


def test_mistakes_reported_together(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text("name: a b\nnode: {cpus: 0}\nqos: c d\nzzz: 1\n")

    with pytest.raises(ClusterError) as caught:
        load_cluster(path, ["cluster.node.gpus=x"])

    assert [problem.key for problem in caught.value.problems] == ["zzz", "node.cpus", "node.gpus", "name", "qos"]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("marenostrum", "did you mean marenostrum5"),
        ("there/is/none.yaml", "cannot read the cluster profile there/is/none.yaml: No such file"),
        ("none.yml", "cannot read the cluster profile none.yml"),
    ],
)
def test_profile_not_found(name, part):
    with pytest.raises(UserError, match=part):
        load_cluster(name)


def test_choice_order(monkeypatch, tmp_path):
    """--cluster, else HPCDL_CLUSTER, else the first profile that fits the host."""
    for name, patterns in (
        ("one", '["login*.one.org", login1]'),
        ("two", "[node*, 'alogin*.two.org']"),
        ("three", "[]"),
    ):
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\ndetect: {patterns}\n")
    monkeypatch.setattr("hpcdl.cluster._PROFILES", tmp_path)
    for host, name in (("login7.one.org", "one"), ("login1", "one"), ("alogin2.two.org", "two")):
        monkeypatch.setattr(socket, "getfqdn", lambda host=host: host)
        assert choose_cluster(None) == name

    monkeypatch.setenv("HPCDL_CLUSTER", "generic")
    assert choose_cluster(None) == "generic"
    assert choose_cluster("local") == "local"


def test_unknown_host_refused(monkeypatch):
    monkeypatch.setattr(socket, "getfqdn", lambda: "laptop")

    with pytest.raises(UserError, match=r"\(laptop\) fits no profile.* known are generic, local, marenostrum5"):
        choose_cluster(None)
