"""Cluster profiles: the built-in ones, what is wrong in one with its place, and which one is chosen."""

from __future__ import annotations

import getpass
import socket
import subprocess
from pathlib import Path

import pytest

from hpcdl.cluster import Image, built_in_profiles, choose_cluster, load_cluster
from hpcdl.errors import ClusterError, JobError, UserError
from hpcdl.job import load_job
from hpcdl.planning import plan
from hpcdl.script import render
from tests.sites import SITES, at_a_site

TESTBED = Path(__file__).parents[1] / "testbed" / "testbed.yaml"


@pytest.mark.parametrize("name", built_in_profiles())
def test_built_in_loads(monkeypatch, name):
    at_a_site(monkeypatch)
    cluster = load_cluster(name, ["cluster.account=nct00"])

    assert cluster.name == name
    assert cluster.description
    assert not cluster.emulate_gpus, "no built-in profile emulates GPUs"


@pytest.mark.parametrize("job", ["mnist_script", "mnist_cnn"])
@pytest.mark.parametrize("name", ["generic", *SITES])
def test_built_in_renders(monkeypatch, name, job):
    at_a_site(monkeypatch)
    decided = plan(load_job(job), load_cluster(name, ["cluster.account=nct00"]))

    text = render(decided, "job.sbatch", bundle=job == "mnist_cnn")

    assert "#SBATCH --cpus-per-task=" in text
    assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0


TWO_GPUS = {
    "mahuika": {"gpus-per-node": "a100:2", "cpus-per-task": "31", "mem": "239616M"},
    "marenostrum5": {"gres": "gpu:2", "cpus-per-task": "40", "qos": "acc_debug"},
    "roihu": {"gres": "gpu:gh200:2", "cpus-per-task": "144", "partition": "gpumedium"},
    "saga": {
        "gpus-per-node": "2",
        "gres": "localscratch:20G",
        "cpus-per-task": "16",
        "mem-per-cpu": "32000M",
        "partition": "a100",
    },
}


@pytest.mark.parametrize("name", TWO_GPUS)
def test_two_gpus_in_site_dialect(name):
    """Two GPUs become the directives that each site's documentation asks for."""
    decided = plan(
        load_job("mnist_cnn", ["resources.gpus=2"]), load_cluster(name, ["cluster.account=nct00"])
    )

    asked = {
        "gres",
        "gpus-per-node",
        "cpus-per-task",
        "mem",
        "mem-per-cpu",
        "mem-per-gpu",
        "partition",
        "qos",
    }
    assert {key: value for key, value in decided.directives if key in asked} == TWO_GPUS[name]
    assert ("account", "nct00") in decided.directives


@pytest.mark.parametrize(
    ("name", "sets", "time", "words"),
    [
        ("mahuika", [], "21-00:00:01", "mahuika allows 21-00:00:00: ask for less"),
        (
            "roihu",
            ["cluster.partition=gputest"],
            "00:16:00",
            "use --set cluster.partition=gpumedium|gpularge, or ask",
        ),
        (
            "saga",
            ["cluster.qos=devel"],
            "03:00:00",
            "QoS devel allows 02:00:00: use --set cluster.qos=optimist, or ask",
        ),
        (
            "saga",
            ["cluster.partition=normal"],
            "8-00:00:00",
            "use --set cluster.partition=a100|accel|bigmem|hugemem",
        ),
    ],
)
def test_longest_jobs_of_a_site(name, sets, time, words):
    job = load_job("mnist_cnn", [f"resources.time={time}", "resources.gpus=0"])

    with pytest.raises(JobError) as caught:
        plan(job, load_cluster(name, ["cluster.account=nct00", *sets]))

    (problem,) = caught.value.problems
    assert (problem.where, problem.key) == (f"--set resources.time={time}", "resources.time")
    assert words in problem.message


def test_older_gpus_of_saga():
    cluster = load_cluster("saga", ["cluster.account=nct00", "cluster.partition=accel"])

    decided = plan(load_job("mnist_cnn", ["resources.gpus=4"]), cluster)

    assert (decided.size.cpus, decided.size.memory_gb) == (24, 364)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("roihu-gpu-login1.csc.fi", "roihu"),
        ("login01.hpc.nesi.org.nz", "mahuika"),
        ("login-3.saga.sigma2.no", "saga"),
        ("alogin2.bsc.es", "marenostrum5"),
        ("lumi-uan03.csc.fi", "lumi"),
        ("login05-ext.leonardo.cineca.it", "leonardo"),
        ("login2.vista.tacc.utexas.edu", "vista"),
        ("uan02.olivia.sigma2.no", "olivia"),
    ],
)
def test_login_nodes_known(monkeypatch, host, name):
    monkeypatch.delenv("HPCDL_CLUSTER", raising=False)
    monkeypatch.setattr(socket, "getfqdn", lambda: host)

    assert choose_cluster(None) == name


def test_places_filled():
    cluster = load_cluster("marenostrum5", ["cluster.account=nct00"])

    assert cluster.images == {
        "tensorflow": Image("/gpfs/scratch/nct00/MN5-NGC-TensorFlow-23.03.sif")
    }
    assert cluster.binds == ["/gpfs/scratch/nct00"]
    assert cluster.runs_root == f"/gpfs/scratch/nct00/{getpass.getuser()}/runs"


def test_user_without_a_name_has_a_number(monkeypatch):
    """In a container of another machine, nothing may know the user."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 54321)
    monkeypatch.setattr("os.geteuid", lambda: 54321)

    cluster = load_cluster("marenostrum5", ["cluster.account=nct00"])

    assert cluster.runs_root == "/gpfs/scratch/nct00/54321/runs"


def test_home_filled(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")

    cluster = load_cluster("generic")

    assert cluster.data_root == "/home/somebody/hpcdl/data"
    assert cluster.images["tensorflow"].path == "/home/somebody/images/tensorflow.sif"


def test_relative_roots_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    cluster = load_cluster("local", ["cluster.data_root=data", "cluster.runs_root=runs"])

    assert (cluster.data_root, cluster.runs_root) == (
        str(tmp_path / "data"),
        str(tmp_path / "runs"),
    )


def test_account_missing():
    with pytest.raises(
        ClusterError, match=r"profile marenostrum5: account: .*--set cluster\.account=<your group>"
    ):
        load_cluster("marenostrum5")


def test_testbed_emulates_gpus():
    assert load_cluster(TESTBED).emulate_gpus


def test_set_changes_profile():
    sets = [
        "cluster.node.gpus=8",
        "cluster.images.other={path: /x.sif, python: python3.9}",
        "cluster.qos=007",
    ]

    cluster = load_cluster("generic", sets)

    assert cluster.node.gpus == 8
    assert cluster.images["other"] == Image("/x.sif", "python3.9")
    assert "tensorflow" in cluster.images
    assert cluster.qos == "007"


MISTAKES = {
    "unknown-key": ("name: a\nqueue: x\n", ":2", "queue", "unknown key"),
    "misspelt-key": ("name: a\nnode: {cpu: 4}\n", ":2", "node.cpu", "did you mean cpus?"),
    "no-name": ("node: {cpus: 4}\n", ":1", "name", "missing; expected the profile's name"),
    "wrong-type": (
        "name: a\nnode: {cpus: many}\n",
        ":2",
        "node.cpus",
        "expected a whole number >= 1; got 'many'",
    ),
    "unknown-dialect": (
        "name: a\ngpu_request: tres\n",
        ":2",
        "gpu_request",
        "one of gres, gpus-per-node, none",
    ),
    "memory-by-no-gpu": (
        "name: a\ngpu_request: none\nmemory_request: mem-per-gpu\n",
        ":3",
        "memory_request",
        "as gpu_request is none",
    ),
    "unknown-memory": (
        "name: a\nmemory_request: all\n",
        ":2",
        "memory_request",
        "one of none, mem, mem-per-cpu",
    ),
    "image-without-path": (
        "name: a\nimages:\n  tf: {python: x}\n",
        ":3",
        "images.tf.path",
        "missing; expected path",
    ),
    "image-as-number": (
        "name: a\nimages: {tf: [1]}\n",
        ":2",
        "images.tf",
        "expected a section with the keys path",
    ),
    "place-unknown": (
        "name: a\ndata_root: /x/{group}\n",
        ":2",
        "data_root",
        "only {account} and {user} are known",
    ),
    "account-breaks-line": (
        'name: a\naccount: "x\\n#SBATCH -p y"\n',
        ":2",
        "account",
        "expected one plain word",
    ),
    "qos-with-space": ("name: a\nqos: a b\n", ":2", "qos", "expected one plain word; got 'a b'"),
    "partition-shell": (
        "name: a\npartition: $(id)\n",
        ":2",
        "partition",
        "expected one plain word",
    ),
    "gpu-type-quote": ("name: a\ngpu_type: h'100\n", ":2", "gpu_type", "expected one plain word"),
    "name-breaks-line": ('name: "a\\nrm -rf x"\n', ":1", "name", "expected one plain word"),
    "runtime-two-words": (
        "name: a\nruntime: apptainer -d\n",
        ":2",
        "runtime",
        "expected one plain word",
    ),
    "module-shell": (
        "name: a\nmodules:\n- ok/1.0\n- 'x; id'\n",
        ":4",
        "modules[1]",
        "expected a module's name",
    ),
    "host-module-dash": (
        "name: a\nhost_modules: [-f]\n",
        ":2",
        "host_modules[0]",
        "expected a module's name",
    ),
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

    assert [problem.key for problem in caught.value.problems] == [
        "zzz",
        "node.cpus",
        "node.gpus",
        "name",
        "qos",
    ]


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

    with pytest.raises(
        UserError, match=r"\(laptop\) fits no profile.* known are betzy, frontier, generic, "
    ):
        choose_cluster(None)


@pytest.mark.cases("C47", "C8")
def test_images_have_whole_paths(tmp_path, monkeypatch):
    """A job starts the container in another folder than the one where it was submitted."""
    monkeypatch.chdir(tmp_path)
    images = "{a: tf.sif, b: {path: ./x/../o.sif}, c: 'docker://a/b'}"
    (tmp_path / "site.yaml").write_text(f"name: a\nimages: {images}\n")

    loaded = load_cluster("site.yaml").images
    assert {name: image.path for name, image in loaded.items()} == {
        "a": f"{tmp_path}/tf.sif", "b": f"{tmp_path}/o.sif", "c": "docker://a/b",
    }  # fmt: skip
    with pytest.raises(ClusterError, match=r"images\.a: is empty; expected the path"):
        load_cluster("site.yaml", ["cluster.images.a=''"])


@pytest.mark.cases("C16")
@pytest.mark.parametrize("text", ["max_time: UNLIMITED", "partitions: {gpu: {max_time: infinite}}"])
def test_unlimited_max_time_is_refused(tmp_path, text):
    """SLURM says UNLIMITED of such a partition."""
    (tmp_path / "site.yaml").write_text(f"name: a\n{text}\n")

    with pytest.raises(ClusterError, match="max_time: leave it out if there is no limit"):
        load_cluster(tmp_path / "site.yaml")
