"""The pages say the truth: each local command runs, links lead somewhere, the reference is what hpcdl reads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
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
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", blocks(page, "local")],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_the_two_make_commands_are_not_run_here() -> None:
    unmarked = [text for page in PAGES for place, text in BLOCK.findall(page.read_text()) if not place]
    assert [line.split("#")[0].strip() for text in unmarked for line in text.splitlines()] == ["make demo", "make test"]


@pytest.mark.parametrize(
    "page", [*PAGES, *REPOSITORY.glob("*/README.md")], ids=lambda page: f"{page.parent.name}-{page.stem}"
)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    missing = [t for t in targets if not t.startswith("http") and not (page.parent / t).exists()]
    assert missing == []


def test_job_file_page_is_what_hpcdl_reads() -> None:
    from hpcdl.job.reference import job_reference

    page = (REPOSITORY / "docs/job-file.md").read_text()
    assert page.endswith(job_reference()), "hpcdl jobs keys says something else than docs/job-file.md"


def test_cluster_page_names_every_key() -> None:
    from dataclasses import fields

    from hpcdl.cluster import Cluster

    page = (REPOSITORY / "docs/my-cluster.md").read_text()
    apart = ("name", "description", "places")
    missing = [f.name for f in fields(Cluster) if f.name not in apart and f"`{f.name}" not in page]
    assert missing == []


def test_table_of_what_is_survived_names_tests_that_exist() -> None:
    rows = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (REPOSITORY / "docs/nothing-is-lost.md").read_text())
    assert len(rows) >= 10
    missing = [f"{file}::{name}" for file, name in rows if f"def {name}" not in (REPOSITORY / file).read_text()]
    assert missing == []
