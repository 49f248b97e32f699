"""Where a site's values come from: profile < config.yaml < ./hpcdl.yaml < job < --set, and each says its place."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hpcdl.cluster import (
    Cluster,
    Node,
    built_in_profiles,
    choose_cluster,
    load_cluster,
    read_cluster,
)
from hpcdl.cluster.show import text
from hpcdl.errors import ClusterError, UserError
from hpcdl.job import load_job
from hpcdl.preflight import Finding
from hpcdl.preflight.origin import origin

PROFILE = """name: here
account: a
qos: profile
node: {cpus: 8, gpus: 2, memory_gb: 64}
images: {tensorflow: /tf.sif, other: {path: /o.sif, python: python3}}
binds: [/a, /b]
data_root: /data/{account}
runs_root: /runs
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with a profile in site.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site.yaml").write_text(PROFILE)
    return tmp_path


def user_config(content: str) -> Path:
    path = Path(os.environ["HOME"], ".config", "hpcdl", "config.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def section(**keys: str) -> str:
    return "profiles:\n  here:\n" + "".join(f"    {key}: {value}\n" for key, value in keys.items())


LAYERS = {
    "profile": "site.yaml:3",
    "user": "~/.config/hpcdl/config.yaml:3",
    "folder": "hpcdl.yaml:3",
    "job": "job.yaml:2",
    "set": "--set cluster.qos=set",
}


@pytest.mark.parametrize("highest", range(1, len(LAYERS) + 1), ids=LAYERS)
def test_each_layer_beats_the_ones_below(folder, highest):
    present = list(LAYERS)[:highest]
    if "user" in present:
        user_config(section(qos="user"))
    if "folder" in present:
        (folder / "hpcdl.yaml").write_text(section(qos="folder"))
    own = "cluster: {qos: job}\n" if "job" in present else "\n"
    (folder / "job.yaml").write_text(f"name: j\n{own}data: {{name: d}}\nmodel: {{name: mlp}}\n")
    sets = ["cluster.qos=set"] if "set" in present else []

    cluster = load_cluster("site.yaml", sets, load_job("job.yaml"))

    assert (cluster.qos, cluster.places["qos"]) == (present[-1], LAYERS[present[-1]])
    assert cluster.places["account"] == "site.yaml:2"


def test_sections_are_joined_and_lists_replaced(folder):
    user_config(section(node="{cpus: 6}", images="{other: {path: /mine.sif}}", binds="[/c]"))
    (folder / "hpcdl.yaml").write_text(section(node="{gpus: 1}", account="~"))

    cluster = load_cluster("site.yaml", ["cluster.node.memory_gb=32", "cluster.account=b"])

    assert cluster.node == Node(6, 1, 32.0)
    assert (cluster.images["other"].path, cluster.images["other"].python) == (
        "/mine.sif",
        "python3",
    )
    assert cluster.images["tensorflow"].path == "/tf.sif"
    assert cluster.binds == ["/c"]
    assert cluster.data_root == "/data/b"


def test_xdg_config_home(folder, monkeypatch, tmp_path):
    (tmp_path / "xdg" / "hpcdl").mkdir(parents=True)
    (tmp_path / "xdg" / "hpcdl" / "config.yaml").write_text(section(qos="xdg"))
    user_config(section(qos="home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))

    assert load_cluster("site.yaml").qos == "xdg"


def test_keys_of_other_profile_are_ignored(folder):
    user_config("profiles:\n  lumi: {qos: b, nonsense: 1}\n")

    assert load_cluster("site.yaml").qos == "profile"


def test_digit_names_stay_text(folder):
    (folder / "job.yaml").write_text(
        "name: j\ncluster: {qos: 007}\ndata: {name: d}\nmodel: {name: mlp}\n"
    )

    assert load_cluster("site.yaml", job=load_job("job.yaml")).qos == "007"


MISTAKES = {
    "unknown": ("clutser: generic\n", "hpcdl.yaml:1", "clutser", "did you mean cluster?"),
    "unknown-profile-key": (section(qoss="x"), "hpcdl.yaml:3", "qoss", "did you mean qos?"),
    "no-section": (
        "profiles: {here: 3}\n",
        "hpcdl.yaml:1",
        "profiles.here",
        "expected a section of profile keys",
    ),
    "not-yaml": ("cluster: [\n", "hpcdl.yaml:2", "", "this is not YAML"),
    "wrong-value": (
        section(node="{cpus: many}"),
        "hpcdl.yaml:3",
        "node.cpus",
        "expected a whole number",
    ),
    "a-program": (
        section(runtime="/evil"),
        "hpcdl.yaml:3",
        "profiles.here.runtime",
        "started here",
    ),
    "a-python": (
        section(host_python="./evil"),
        "hpcdl.yaml:3",
        "profiles.here.host_python",
        "started here",
    ),
    "a-file": ("cluster: ./evil.yaml\n", "hpcdl.yaml:1", "cluster", "a file is named by you"),
    "misspelt-section": (
        "profiles:\n  marenostrum_5: {qos: b}\n",
        "hpcdl.yaml:2",
        "profiles.marenostrum_5",
        "did you mean marenostrum5?",
    ),
    "misspelt-own": (
        "profiles:\n  heer: {qos: b}\n",
        "hpcdl.yaml:2",
        "profiles.heer",
        "did you mean here?",
    ),
    "misspelt-profile": ("cluster: sagaa\n", "hpcdl.yaml:1", "cluster", "did you mean saga?"),
    "place": (
        section(scratch="/x/{group}"),
        "hpcdl.yaml:3",
        "scratch",
        "only {account} and {user} are known",
    ),
}


def test_similar_profile_names_in_settings(folder):
    """As the message says: the one that is meant has a section of its own."""
    user_config("profiles:\n  heer: {qos: b}\n  here: {}\n")

    assert load_cluster("site.yaml").qos == "profile"


@pytest.mark.parametrize(("content", "where", "key", "part"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_names_file_and_line(folder, content, where, key, part):
    (folder / "hpcdl.yaml").write_text(content)

    with pytest.raises(ClusterError) as caught:
        load_cluster("site.yaml")

    (problem,) = caught.value.problems
    assert (problem.where, problem.key) == (where, key)
    assert part in problem.message


def test_problems_of_all_files_together(folder):
    (folder / "site.yaml").write_text(PROFILE + "zzz: 1\n")
    user_config(section(qos="a b"))
    (folder / "hpcdl.yaml").write_text(section(node="{cpus: 0}") + "more: 1\n")
    (folder / "job.yaml").write_text(
        "name: j\ncluster: {parttion: x}\ndata: {name: d}\nmodel: {name: mlp}\n"
    )

    with pytest.raises(ClusterError) as caught:
        load_cluster("site.yaml", ["cluster.max_requeues=no"], load_job("job.yaml"))

    assert sorted(problem.where for problem in caught.value.problems) == [
        "--set cluster.max_requeues=no",
        "hpcdl.yaml:3",
        "hpcdl.yaml:4",
        "job.yaml:2",
        "site.yaml:9",
        "~/.config/hpcdl/config.yaml:3",
    ]


def test_job_cannot_name_host_programs(folder):
    """A job file must not set keys that start a program on the login node, such as module_init."""
    (folder / "job.yaml").write_text(
        "name: j\ncluster: {module_init: evil}\ndata: {name: d}\nmodel: {name: mlp}\n"
    )

    with pytest.raises(ClusterError, match=r"job.yaml:2: cluster.module_init: names a program"):
        load_cluster("site.yaml", job=load_job("job.yaml"))


def test_own_config_may_name_a_program(folder):
    user_config(section(runtime="/opt/apptainer"))

    assert load_cluster("site.yaml").runtime == "/opt/apptainer"


def test_order_of_profile_choice(folder, monkeypatch):
    """--cluster, HPCDL_CLUSTER, ./hpcdl.yaml, the user's config, the host's name: each only where the ones before say
    nothing."""
    monkeypatch.setattr("socket.getfqdn", lambda: "login-1.saga.sigma2.no")
    assert choose_cluster(None) == "saga"
    config = user_config("cluster: roihu\n")
    assert choose_cluster(None) == "roihu"
    (folder / "hpcdl.yaml").write_text("cluster: mahuika\n")
    assert choose_cluster(None) == "mahuika"
    monkeypatch.setenv("HPCDL_CLUSTER", "generic")
    assert choose_cluster(None) == "generic"
    assert choose_cluster("local") == "local"

    monkeypatch.delenv("HPCDL_CLUSTER")
    (folder / "hpcdl.yaml").unlink()
    config.write_text("cluster: sites/mine.yaml\n")
    assert choose_cluster(None) == str(config.parent / "sites" / "mine.yaml")
    config.write_text("cluster: rohiu\n")
    with pytest.raises(
        ClusterError, match=r"~/.config/hpcdl/config.yaml:1: cluster: there is no profile 'rohiu'"
    ):
        choose_cluster(None)


def test_unreadable_settings_file_is_reported(folder):
    (folder / "hpcdl.yaml").mkdir()

    with pytest.raises(ClusterError, match=r"hpcdl\.yaml: cannot be read: Is a directory"):
        load_cluster("site.yaml")


PARTITIONS = """partitions:
  small: {max_time: 01:00:00, node: {cpus: 2}}
  typed: {gpu_type: h100}
qos_choices: {profile: {}, long: {max_time: 2-00:00:00}}
accounts: [a, b]
"""


def test_partition_sets_node_and_gpus(folder):
    """The node and the GPU type of the chosen partition apply unless the user sets them."""
    (folder / "site.yaml").write_text(PROFILE + PARTITIONS)

    assert load_cluster("site.yaml").node == Node(8, 2, 64.0)
    assert load_cluster("site.yaml", ["cluster.partition=small"]).node == Node(2)
    assert load_cluster("site.yaml", ["cluster.partition=typed"]).gpu_type == "h100"
    assert load_cluster("site.yaml", ["cluster.partition=typed"]).node == Node(8, 2, 64.0)
    assert load_cluster(
        "site.yaml", ["cluster.partition=small", "cluster.node.cpus=1"]
    ).node == Node(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "partition=smal",
            "expected one of small, typed, as cluster.partitions lists; got 'smal'; did you mean small?",
        ),
        ("partition=small,none", "got 'none'"),
        (
            "qos=lnog",
            "expected one of profile, long, as cluster.qos_choices lists; got 'lnog'; did you mean long?",
        ),
        ("account=c", "expected one of a, b, as cluster.accounts lists; got 'c'"),
    ],
)
def test_unknown_choice_is_refused(folder, text, message):
    (folder / "site.yaml").write_text(PROFILE + PARTITIONS)

    with pytest.raises(ClusterError) as caught:
        load_cluster("site.yaml", [f"cluster.{text}"])

    (problem,) = caught.value.problems
    assert (problem.where, problem.key) == (f"--set cluster.{text}", text.partition("=")[0])
    assert message in problem.message


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ("max_time: 90\n", "max_time"),
        ("partitions: {a: {max_time: soon}}\n", "partitions.a.max_time"),
        ("qos_choices: {a: {max_time: 12:30}}\n", "qos_choices.a.max_time"),
        ("partitions: {a b: {}}\n", "partitions.a b"),
        ("partitions: {a: {gpu_type: $(id)}}\n", "partitions.a.gpu_type"),
        ("scratch_gres: a b\n", "scratch_gres"),
        ("pass_env: [NCCL_*]\n", "pass_env[0]"),
        ("pass_env: [NCCL_DEBUG, HOME]\n", "pass_env[1]"),
        ("architecture: x86 64\n", "architecture"),
    ],
)
def test_new_keys_are_checked(folder, content, key):
    (folder / "site.yaml").write_text(PROFILE + content)

    with pytest.raises(ClusterError) as caught:
        load_cluster("site.yaml")

    assert [(problem.where, problem.key) for problem in caught.value.problems] == [
        ("site.yaml:9", key)
    ]


# show


@pytest.mark.parametrize("name", built_in_profiles())
def test_shown_profile_loads_equal(tmp_path, name):
    sets = ["cluster.account=007", "cluster.images.more={path: '/x y.sif', python: python3}"]
    cluster = read_cluster(name, sets)
    (tmp_path / "shown.yaml").write_text(text(cluster))

    again = read_cluster(tmp_path / "shown.yaml")

    assert again == cluster
    assert replace(again, places={}) != Cluster(name)


def test_shown_profile_names_sources(folder, cli):
    user_config("cluster: generic\n" + "profiles: {generic: {account: nct00, node: {gpus: 2}}}\n")
    (folder / "hpcdl.yaml").write_text("profiles:\n  generic:\n    qos: debug\n")

    answer = cli("cluster", "show", "--set", "cluster.partition=gpu")

    rows = dict(line.split("  # ", 1) for line in answer.out.splitlines())
    places = {row.strip(): where.strip() for row, where in rows.items()}
    assert places["account: nct00"] == "~/.config/hpcdl/config.yaml:2"
    assert places["gpus: 2"] == "~/.config/hpcdl/config.yaml:2"
    assert places["cpus: 32"] == "profile generic:5"
    assert places["qos: debug"] == "hpcdl.yaml:3"
    assert places["partition: gpu"] == "--set cluster.partition=gpu"
    assert places["# requeue: true"] == "default"


def test_show_raw_prints_file_unchanged(cli):
    for name, path in built_in_profiles().items():
        assert cli("cluster", "show", name, "--raw").out == path.read_text()


def test_show_without_a_cluster(cli, monkeypatch):
    monkeypatch.setattr("socket.getfqdn", lambda: "laptop")

    answer = cli("cluster", "show")

    assert (answer.code, answer.out) == (2, "")
    assert "which cluster?" in answer.err


def test_show_unknown_profile(cli):
    for more in ([], ["--raw"]):
        assert "did you mean saga?" in cli("cluster", "show", "sagaa", *more).err


# origins of findings


def test_finding_names_its_file_and_line(folder):
    """Each key leads to where it was set: folder settings, profile, job file or --set."""
    (folder / "hpcdl.yaml").write_text(section(qos="folder"))
    (folder / "job.yaml").write_text("name: j\ndata: {name: d}\nmodel: {name: mlp}\n")
    job = load_job("job.yaml", ["resources.time=02:00:00"])
    cluster = load_cluster("site.yaml", job=job)

    def place(source: str, key: str) -> str:
        return origin(Finding("", "", source, key), job, cluster)

    assert place("profile", "qos") == "hpcdl.yaml:3"
    assert place("profile", "images.other") == "site.yaml:5"
    assert place("profile", "partition") == "site.yaml, partition"
    assert place("job", "resources.time") == "--set resources.time=02:00:00"
    assert place("job", "data.name") == "job.yaml:2"
    assert place("cluster", "") == "cluster"


def test_broken_settings_file_gives_no_profile(folder):
    """Settings that are not YAML are reported with file and line when the profile is chosen."""
    user_config("cluster: [\n")

    with pytest.raises(UserError, match=r"config\.yaml:2: this is not YAML"):
        choose_cluster(None)
