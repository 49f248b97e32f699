"""The pages say the truth: each local command runs, links lead somewhere, the reference is what hpcdl reads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hpcdl
from tests.test_layers import FLOORS

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
OWN_PAGES = [REPOSITORY / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
BLOCK = re.compile(r"(?:<!-- run: (\w+) -->\n)?```sh\n(.*?)```", re.DOTALL)


def blocks(page: Path, where: str) -> str:
    """The commands of a page that are to be run on this machine ("local") or on a login node ("cluster")."""
    return "".join(text for place, text in BLOCK.findall(page.read_text()) if place == where)


def pages_with(where: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, where)]


@pytest.mark.tensorflow
@pytest.mark.parametrize("page", pages_with("local"), ids=lambda page: page.stem)
def test_local_commands_run(tmp_path: Path, page: Path) -> None:
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    env["HOME"] = str(tmp_path / "home")
    tmp_path.joinpath("work").mkdir()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", blocks(page, "local")],
        cwd=tmp_path / "work", env=env, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


# What each extra of hpcdl's brings, as modules
EXTRAS = {
    "tensorflow": ["tensorflow", "keras"],
    "digits": ["sklearn"],
    "report": ["sklearn"],
    "tensorboard": ["tensorboard"],
    "bayes": ["optuna"],
    "images": ["PIL", "google_crc32c"],
    "predict": ["ai_edge_litert", "PIL"],
}


def only_what_the_page_installs(page: Path, folder: Path) -> dict[str, str]:
    """Variables for a Python that has of hpcdl's extras only those that a page's install line names."""
    match = re.search(r"pip install '?/path/to/hpcdl(?:\[([\w,]+)\])?", page.read_text())
    assert match, f"{page} does not say how to install hpcdl"
    installed = {
        module for extra in (match[1] or "").split(",") if extra for module in EXTRAS[extra]
    }
    hidden = {module for modules in EXTRAS.values() for module in modules} - installed
    folder.mkdir()
    lines = ["import sys", f"sys.modules.update(dict.fromkeys({sorted(hidden)}))"]
    (folder / "sitecustomize.py").write_text("\n".join(lines) + "\n")
    return {"PYTHONPATH": str(folder)}


@pytest.mark.cases("F12")
def test_first_job_page_runs_in_order(tmp_path: Path) -> None:
    """In a new home, with what step 1 installs and no more, all runs until SLURM is asked."""
    page = REPOSITORY / "docs" / "first-job.md"
    commands = blocks(page, "cluster").partition("hpcdl check")[0]
    assert "hpcdl data stage digits\n" in commands
    profile = "name: mine\nnode: {cpus: 4, gpus: 0}\nimages: {tensorflow: /nowhere.sif}\nruns_root: /nowhere/runs\n"
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mycluster.yaml").write_text(f"{profile}data_root: /nowhere/data\n")
    env = {
        **os.environ,
        **only_what_the_page_installs(page, tmp_path / "site"),
        "HOME": str(tmp_path / "home"),
    }
    env["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path / "work", env=env, capture_output=True, text=True, timeout=100,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "work" / "data" / "digits.npz").exists()
    assert (tmp_path / "work" / "digits_cnn.yaml").exists()


@pytest.mark.cases("F12")
def test_nobody_installs_hpcdl_by_name() -> None:
    """hpcdl is not on PyPI: whoever registers that name there would be installed."""
    files = [*PAGES, *REPOSITORY.glob("*/README.md"), *(REPOSITORY / "hpcdl").rglob("*.py")]
    pattern = re.compile(r"pip install (?!--no-index)[^\n`]*?[ '\"]hpcdl\b")
    by_name = [str(file) for file in files if pattern.search(file.read_text())]
    assert by_name == []


@pytest.mark.cases("F12")
def test_extras_match_the_package() -> None:
    from hpcdl import extras

    text = (REPOSITORY / "pyproject.toml").read_text()
    for name in EXTRAS:
        line = re.search(rf"^{name} = \[(.*?)\]", text, re.MULTILINE)
        assert line
        assert tuple(re.findall(r'"([\w-]+)[>=]', line[1])) == getattr(extras, name.upper())


def test_only_make_commands_stay_unrun() -> None:
    """Every other command block of the pages is run by a test."""
    unmarked = [
        text for page in PAGES for place, text in BLOCK.findall(page.read_text()) if not place
    ]
    assert {line.split("#")[0].strip() for text in unmarked for line in text.splitlines()} == {
        "make demo",
        "make golden",
        "make test",
        "make test-gpu",
        "HPCDL_TEST_GPU_IMAGE=/path/to/tensorflow.sif make test-gpu",
    }


@pytest.mark.parametrize(
    "page",
    [*PAGES, *OWN_PAGES, *REPOSITORY.glob("*/README.md")],
    ids=lambda page: f"{page.parent.name}-{page.stem}",
)
def test_links_have_targets(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    missing = [t for t in targets if not t.startswith("http") and not (page.parent / t).exists()]
    assert missing == []


def test_job_file_page_lists_every_key() -> None:
    """The page ends with the output of hpcdl jobs keys."""
    from hpcdl.job.reference import job_reference

    page = (REPOSITORY / "docs/job-file.md").read_text()
    assert page.endswith(job_reference()), (
        "hpcdl jobs keys says something else than docs/job-file.md"
    )


def test_cluster_page_names_every_key() -> None:
    from dataclasses import fields

    from hpcdl.cluster import Cluster

    page = (REPOSITORY / "docs/my-cluster.md").read_text()
    apart = ("name", "description", "places", "file")
    missing = [f.name for f in fields(Cluster) if f.name not in apart and f"`{f.name}" not in page]
    assert missing == []


def test_map_names_every_room() -> None:
    """docs/how-it-works.md has each folder and file of hpcdl/ in a table."""
    page = (REPOSITORY / "docs/how-it-works.md").read_text()
    rooms = " ".join(FLOORS["hpcdl"]).split()
    missing = []
    for room in rooms:
        if room != "__main__" and f"`{room}/`" not in page and f"`{room}.py`" not in page:
            missing.append(room)
    assert missing == []


@pytest.mark.parametrize("page", [*PAGES, *OWN_PAGES], ids=lambda page: page.stem)
def test_files_named_in_pages_exist(page: Path) -> None:
    """Files, and tests in them, that a page names exist."""
    missing = []
    for file, _, test in re.findall(
        r"`((?:tests|hpcdl|templates|benchmarks)/[\w./-]+)(::(\w+))?`", page.read_text()
    ):
        path = REPOSITORY / file
        if not path.exists() or f"def {test}" not in (path.read_text() if test else "def "):
            missing.append(f"{file} {test}")
    assert missing == []
    if page.stem == "nothing-is-lost":
        assert page.read_text().count("`tests/") >= 10


def test_api_page_has_every_public_name() -> None:
    page = (REPOSITORY / "docs/api.md").read_text()
    public = {name for name in hpcdl.__all__ if not name.startswith("_")}

    detailed = set(re.findall(r"^::: hpcdl\.(\w+)$", page, re.MULTILINE))
    assert detailed == public | {"errors"}
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == public


def test_version_is_the_same_everywhere() -> None:
    citation = (REPOSITORY / "CITATION.cff").read_text()
    changes = (REPOSITORY / "CHANGELOG.md").read_text()
    released = re.search(r"^version: (.*)\ndate-released: (.*)$", citation, re.MULTILINE)
    newest = re.search(r"^## (\S+) \((.*)\)$", changes, re.MULTILINE)

    assert released is not None
    assert newest is not None
    assert released.groups() == newest.groups()
    assert released[1] == hpcdl.__version__
