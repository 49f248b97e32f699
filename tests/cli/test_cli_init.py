"""`hpcdl init`: asks little, keeps it in ~/.config/hpcdl/config.yaml, and changes nothing that is there unasked."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from hpcdl.cluster import choose_cluster, load_cluster
from tests.preflight.conftest import CONFIG, World


@pytest.fixture
def config() -> Path:
    """Where the file goes."""
    return Path(os.environ["HOME"], ".config", "hpcdl", "config.yaml")


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Makes SLURM say that the user has some accounts; by default there is no SLURM."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr("hpcdl.scheduler.slurm.available", lambda: False)

    def make(*accounts: str, default: str = "") -> None:
        world = World.__new__(World)
        world.folder, world.bin = tmp_path, tmp_path / "bin"
        world.bin.mkdir()
        world.slurm(
            config=CONFIG,
            associations="\n".join(f"{name}|normal|normal|||{default}" for name in accounts),
        )
        monkeypatch.setenv("PATH", f"{world.bin}:/usr/bin:/bin")
        monkeypatch.setattr("hpcdl.scheduler.slurm.available", lambda: True)

    return make


@pytest.fixture
def types(monkeypatch):
    """A user at a terminal, who types these lines."""

    def make(*lines: str) -> None:
        keys = io.StringIO("".join(f"{line}\n" for line in lines))
        monkeypatch.setattr(keys, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys, "stdin", keys)

    return make


def test_init_without_terminal(cli, slurm, config):
    answer = cli("init", "--cluster", "marenostrum5", "--set", "account=nct77", "--yes")

    assert (answer.code, answer.out) == (0, f"{config}\n")
    assert config.read_text().splitlines()[1:] == [
        "cluster: marenostrum5",
        "profiles:",
        "  marenostrum5:",
        "    account: nct77",
    ]
    assert choose_cluster(None) == "marenostrum5"
    assert load_cluster("marenostrum5").places["account"] == "~/.config/hpcdl/config.yaml:5"
    assert (
        "image tensorflow: /gpfs/scratch/nct77/MN5-NGC-TensorFlow-23.03.sif is not there yet"
        in answer.err
    )
    assert answer.err.endswith("next: hpcdl check mnist_cnn\n")
    rendered = cli("render", "mnist_script")
    assert (
        rendered.out
        == cli("render", "mnist_script", "-c", "marenostrum5", "-s", "cluster.account=nct77").out
    )


@pytest.mark.parametrize(("site", "said"), [("lumi", True), ("saga", False)])
def test_init_says_what_amd_needs(cli, slurm, config, site, said):
    answer = cli("init", "--cluster", site, "--set", "account=project_1", "--yes")

    assert answer.code == 0
    words = "the GPUs are AMD's: an image needs a TensorFlow that is built for ROCm"
    assert (words in answer.err) is said


def test_init_asks_for_unknown_values(cli, slurm, config, types, tmp_path, monkeypatch):
    monkeypatch.setattr("socket.getfqdn", lambda: "laptop")
    (tmp_path / "my tf.sif").touch()
    types("saga", "nn1234k", str(tmp_path / "my tf.sif"), "")

    answer = cli("init")

    assert answer.code == 0, answer.err
    for question in (
        "which cluster? betzy, ",
        "which account pays",
        "where is the image tensorflow?",
        "write this to",
    ):
        assert question in answer.err
    cluster = load_cluster(choose_cluster(None))
    assert (cluster.name, cluster.account) == ("saga", "nn1234k")
    assert cluster.images["tensorflow"].path == str(tmp_path / "my tf.sif")


def test_init_writes_only_after_yes(cli, slurm, config, types):
    types("", "n")

    assert cli("init", "--cluster", "generic", "--set", "account=a").code == 130
    assert not config.exists()


def test_init_offers_accounts_from_slurm(cli, slurm, config, types):
    slurm("alpha", "beta", default="beta")
    types("", "", "y")

    answer = cli("init", "--cluster", "marenostrum5")

    assert "which account pays: alpha, beta [beta]" in answer.err
    assert load_cluster("marenostrum5").account == "beta"


def test_init_takes_the_only_account(cli, slurm, config):
    slurm("alpha")

    assert cli("init", "--cluster", "marenostrum5", "--yes").code == 0
    assert load_cluster("marenostrum5").account == "alpha"


@pytest.mark.parametrize(
    ("accounts", "words"), [((), "<your group>"), (("alpha", "beta"), "alpha|beta")]
)
def test_init_without_terminal_needs_account(cli, slurm, config, accounts, words):
    """Without a terminal nothing is asked: the account has to be given by --set."""
    if accounts:
        slurm(*accounts)

    answer = cli("init", "--cluster", "marenostrum5", "--yes")

    assert (answer.code, answer.out) == (2, "")
    assert answer.err.endswith(f"which account? --set account={words}\n")
    assert not config.exists()


def test_init_warns_of_unknown_account(cli, slurm, config):
    """An account that SLURM does not list is accepted with a warning and a suggestion."""
    slurm("alpha", "beta")

    answer = cli("init", "--cluster", "marenostrum5", "--set", "account=alhpa", "--yes")

    assert answer.code == 0
    assert "SLURM here knows no account alhpa of yours; did you mean alpha?" in answer.err


def test_init_keeps_existing_file(cli, slurm, config, types):
    config.parent.mkdir(parents=True)
    config.write_text("cluster: roihu # mine\n")

    answer = cli("init", "--cluster", "generic", "--yes")
    types("n")
    asked = cli("init", "--cluster", "generic")

    assert (answer.code, asked.code) == (2, 2)
    assert "~/.config/hpcdl/config.yaml exists already; --force changes it" in answer.err
    assert "change it?" in asked.err
    assert config.read_text() == "cluster: roihu # mine\n"


def test_second_cluster_joins_the_first(cli, slurm, config):
    cli(
        "init", "--cluster", "marenostrum5", "--set", "account=007", "--set", "node.gpus=2", "--yes"
    )
    cli("init", "--cluster", "saga", "--set", "account=nn1", "--yes", "--force")

    assert choose_cluster(None) == "saga"
    assert load_cluster("saga").account == "nn1"
    assert (load_cluster("marenostrum5").account, load_cluster("marenostrum5").node.gpus) == (
        "007",
        2,
    )


def test_init_stores_absolute_profile_path(cli, slurm, config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site.yaml").write_text("name: mine\nnode: {cpus: 8, gpus: 1}\n")

    assert cli("init", "--cluster", "site.yaml", "--set", "qos=long", "--yes").code == 0

    monkeypatch.chdir("/")
    assert choose_cluster(None) == str(tmp_path / "site.yaml")
    assert load_cluster(choose_cluster(None)).qos == "long"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--cluster", "sagaa"], "did you mean saga?"),
        (["--cluster", "generic", "--set", "acount=a"], "unknown key; did you mean account?"),
        (["--cluster", "generic", "--set", "qos=a b"], "expected one plain word; got 'a b'"),
        (["--cluster", "there/is/none.yaml"], "cannot read the cluster profile"),
    ],
)
def test_init_writes_nothing_after_mistake(cli, slurm, config, options, words):
    answer = cli("init", *options, "--yes")

    assert (answer.code, answer.out) == (2, "")
    assert words in answer.err
    assert not config.exists()


def test_folder_that_cannot_be_written(cli, slurm, config):
    config.parent.parent.mkdir()
    config.parent.write_text("a file")

    answer = cli("init", "--cluster", "generic", "--yes")

    assert answer.code == 1
    assert f"cannot write {config}: " in answer.err
