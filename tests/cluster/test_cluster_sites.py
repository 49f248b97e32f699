"""The built-in profiles of sites: each loads, renders, and says where each of its values comes from."""

from __future__ import annotations

import re

import pytest

from hpcdl.cluster import built_in_profiles, load_cluster
from hpcdl.errors import ClusterError, JobError
from hpcdl.job import load_job
from hpcdl.planning import plan
from hpcdl.script import render
from tests.sites import ACCOUNT, SITES, at_a_site

# The lines of a header: a repository at one of its commits, or the address or path of a tag
_BASE = re.compile(r"^# Sources, in (https://github\.com/[\w.-]+/[\w.-]+)\b")
_OTHER = re.compile(r"^# Sources")
_TAG = re.compile(r"\[([a-z-]+)\] (\S+)")
_TAGGED = re.compile(r"\[([a-z-]+)\]")
_OURS = {"course": "jobs/mnist_script.yaml"}  # its script was handed to us, and is not on the web


def sources(name: str) -> dict[str, str]:
    """The address behind each tag of a profile's header."""
    found: dict[str, str] = {}
    base = ""
    for line in built_in_profiles()[name].read_text().splitlines():
        if _OTHER.match(line):
            in_repository = _BASE.match(line)
            base = in_repository[1] if in_repository else ""
        if not line.startswith("# Sources") and not line.startswith("#   "):
            continue
        for tag, place in _TAG.findall(line):
            whole = place if place.startswith("http") else f"{base}/{place}"
            if whole.startswith("http"):
                found[tag] = whole.rstrip(",;")
            elif name == "marenostrum5" and tag in _OURS:
                found[tag] = _OURS[tag]
    return found


def values(name: str) -> list[str]:
    """The lines of a profile with a value of the site's."""
    lines = built_in_profiles()[name].read_text().splitlines()
    own = ("#", "name:", "description:", "images:")
    return [line for line in lines if line and not line.startswith(own)]


@pytest.mark.parametrize("name", SITES)
def test_values_have_web_sources(name):
    """Each line's comment names a source, and the header gives the address of each that it names."""
    known = sources(name)

    unsourced = []
    for line in values(name):
        tags = set(_TAGGED.findall(line.partition(" #")[2]))
        if not tags or not tags <= set(known):
            unsourced.append(line)

    assert unsourced == []
    assert len(values(name)) > 8


@pytest.mark.parametrize("name", SITES)
def test_sources_are_used(name):
    """No address is left behind whose value has gone."""
    text = built_in_profiles()[name].read_text()

    unused = [tag for tag in sources(name) if text.count(f"[{tag}]") < 2]

    assert unused == []


@pytest.mark.parametrize("name", SITES)
def test_header_says_what_is_missing(name):
    text = built_in_profiles()[name].read_text()

    assert "# Left out for want of a source" in text
    assert f"\nname: {name}\n" in text


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize("share", ["one", "all"])
def test_site_renders_model(monkeypatch, name, share):
    """A model on one GPU, and on all of a node: the script asks for that share of the node."""
    at_a_site(monkeypatch)
    cluster = load_cluster(name, [ACCOUNT])
    gpus = 1 if share == "one" else cluster.node.gpus
    time = "resources.time=00:30:00"

    decided = plan(load_job("mnist_cnn", [f"resources.gpus={gpus}", time]), cluster)

    text = render(decided, "job.sbatch", bundle=True)
    assert decided.size.cpus == cluster.node.cpus * gpus // cluster.node.gpus
    assert f"#SBATCH --cpus-per-task={decided.size.cpus}\n" in text
    asks = "gpus-per-node" if cluster.gpu_request == "gpus-per-node" else "gres=gpu"
    assert (f"#SBATCH --{asks}" in text) is (cluster.gpu_request != "none")
    amd = cluster.gpu_vendor == "amd"
    assert ("--rocm" in text, "--nv" in text) == (amd, not amd)


def test_amd_sites_say_so():
    amd = {name for name in SITES if "\ngpu_vendor: amd" in built_in_profiles()[name].read_text()}

    assert amd == {"frontier", "lumi"}


def test_constraint_becomes_directive(monkeypatch):
    at_a_site(monkeypatch)
    sets = [ACCOUNT, "cluster.partition=gpu_p5", "cluster.constraint=a100", "cluster.qos="]

    def asked(job_sets: list[str]) -> list[tuple[str, str]]:
        decided = plan(load_job("mnist_script", job_sets), load_cluster("jean-zay", sets))
        return [pair for pair in decided.directives if pair[0] in ("constraint", "partition")]

    assert asked([]) == [("partition", "gpu_p5"), ("constraint", "a100")]
    assert asked(["slurm.constraint=v100"]) == [("partition", "gpu_p5"), ("constraint", "v100")]


@pytest.mark.parametrize("features", ["gpu&hbm80g", "[rack1|rack2]", "a100*2"])
def test_constraint_takes_expressions(features):
    assert load_cluster("generic", [f"cluster.constraint='{features}'"]).constraint == features


@pytest.mark.parametrize("features", ["two words", "-x", "$(id)", "a;b"])
def test_constraint_refuses_the_rest(features):
    with pytest.raises(ClusterError, match=r"constraint: expected features of nodes"):
        load_cluster("generic", [f"cluster.constraint='{features}'"])


@pytest.mark.parametrize(
    ("name", "sets", "time", "words"),
    [
        ("marenostrum5", [], "03:00:00", "QoS acc_debug allows 02:00:00"),
        ("marenostrum5", ["cluster.qos=acc_ehpc"], "4-00:00:00", "QoS acc_ehpc allows 3-00:00:00"),
        ("lumi", [], "4-00:00:00", "partition small-g allows 3-00:00:00"),
        ("leonardo", [], "2-00:00:00", "leonardo allows 1-00:00:00"),
        ("frontier", [], "03:00:00", "use --set cluster.partition=extended"),
    ],
)
def test_limits_of_new_sites(monkeypatch, name, sets, time, words):
    at_a_site(monkeypatch)
    job = load_job("mnist_cnn", [f"resources.time={time}"])

    with pytest.raises(JobError, match=re.escape(words)):
        plan(job, load_cluster(name, [ACCOUNT, *sets]))
