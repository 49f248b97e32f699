"""`hpcdl cluster test --fix`: a profile's file with some keys otherwise, and nothing else changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcdl.cluster import load_cluster
from hpcdl.errors import HpcdlError, UserError
from hpcdl.promises.profile_edit import Edit
from hpcdl.promises.profile_text import with_keys, with_keys_of_section

PROFILE = """# Our site
name: mine   # as we call it
node: {cpus: 4, gpus: 1}

requeue: true   # says the site
images:
  tensorflow: /x.sif
# the end
"""


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def own_profile(text: str = PROFILE) -> Path:
    path = Path("mine.yaml").absolute()
    path.write_text(text)
    return path


def test_only_the_keys_change() -> None:
    changed = with_keys(PROFILE, {"requeue": False, "signal_lead_s": 180})

    assert changed == PROFILE.replace("requeue: true ", "requeue: false ") + "signal_lead_s: 180\n"
    assert with_keys(changed, {"requeue": False, "signal_lead_s": 180}) == changed


def test_lines_end_as_before() -> None:
    text = 'name: a  # mine\r\n# a form feed: \f, no end\r\nscratch: "/a #b" # ours\r\n'
    changed = with_keys(text, {"scratch": None, "requeue": False})

    assert changed == text.replace('"/a #b"', "null") + "requeue: false\r\n"
    assert with_keys('scratch: "/a # b"\n', {"scratch": None}) == "scratch: null\n"
    assert with_keys("scratch:   # none\n", {"scratch": "/x"}) == "scratch: /x # none\n"
    assert with_keys("scratch: '/it''s #1'  # x\n", {"scratch": None}) == "scratch: null  # x\n"


def test_read_only_profile_stays() -> None:
    """Root could write it, and os.replace asks nobody."""
    path = own_profile()
    path.chmod(0o444)

    with pytest.raises(HpcdlError, match=r"mine.yaml: it is read-only; what helps: requeue: false"):
        Edit(load_cluster(path), {"requeue": False}).write()
    assert path.read_text() == PROFILE


def test_nested_key_is_another_one() -> None:
    text = "notify:\n  requeue: x\nname: a"

    assert with_keys(text, {"requeue": False}) == f"{text}\nrequeue: false\n"


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("", "profiles:\n  site:\n    requeue: false\n"),
        ("cluster: site\n", "cluster: site\nprofiles:\n  site:\n    requeue: false\n"),
        (
            "profiles:\n    other:\n        qos: a\n",
            "profiles:\n    site:\n      requeue: false\n    other:\n        qos: a\n",
        ),
        (
            "profiles:\n  site:\n    # mine\n    requeue: true # no\n  b: {}\n",
            "profiles:\n  site:\n    # mine\n    requeue: false # no\n  b: {}\n",
        ),
        (
            "profiles:\n  a:\n    requeue: true\n  'site':\n    qos: b\n",
            "profiles:\n  a:\n    requeue: true\n  'site':\n    requeue: false\n    qos: b\n",
        ),
    ],
    ids=["new file", "new section", "new profile", "same key", "key of another profile"],
)
def test_section_of_config_changes(text: str, changed: str) -> None:
    assert with_keys_of_section(text, "site", {"requeue": False}) == changed


def test_own_profile_is_written() -> None:
    path = own_profile()
    path.chmod(0o640)
    link = Path("link.yaml")
    link.symlink_to(path)

    edit = Edit(load_cluster(link), {"requeue": False, "scratch": None})
    edit.write()

    assert "-requeue: true   # says the site" in edit.lines()
    assert load_cluster(path).requeue is False
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.read_text().endswith("# the end\nscratch: null\n")


def test_built_in_profile_gets_an_override(tmp_path: Path) -> None:
    cluster = load_cluster("generic")
    Edit(cluster, {"requeue": False}).write()

    assert load_cluster("generic").requeue is False
    assert (tmp_path / "config" / "hpcdl" / "config.yaml").exists()
    Edit(load_cluster("generic"), {"requeue": True}).write()
    assert load_cluster("generic").requeue is True


@pytest.mark.parametrize(
    "text",
    [
        "{name: mine, node: {cpus: 4}}\n",
        "name: mine\nnode: {cpus: 4}\nrequeue:\n  true\n",
    ],
    ids=["flow", "two lines"],
)
def test_other_form_is_left_alone(text: str) -> None:
    path = own_profile(text)

    with pytest.raises(
        UserError, match=r"cannot be changed line by line; write .*: requeue: false"
    ):
        Edit(load_cluster(path), {"requeue": False})
    assert path.read_text() == text


def test_stronger_layer_is_named(tmp_path: Path) -> None:
    path = own_profile()
    Path("hpcdl.yaml").write_text("profiles:\n  mine:\n    requeue: true\n")

    with pytest.raises(UserError, match=r"requeue is set by hpcdl.yaml:3, which goes before"):
        Edit(load_cluster(path), {"requeue": False})
    assert path.read_text() == PROFILE
