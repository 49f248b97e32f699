"""The folder of a test: its runs, what they showed, and the page. The newest test's is kept."""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcdl.cluster.schema import Cluster
from hpcdl.errors import RunError
from hpcdl.files import read_json
from hpcdl.oserrors import refusal
from hpcdl.run.handle import Run

_LEFT_S = 86400.0  # a test without a record is taken for one that was killed
_PARENT = "cluster-test"
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True)
class TestFolder:
    """The files of a test: ``<runs_root>/cluster-test/<profile>-<time>-<letters>``."""

    __test__ = False  # not one of pytest's

    root: Path

    @property
    def record(self) -> Path:
        """What was shown, and the verdicts; by this file the folder is known."""
        return self.root / "cluster-test.json"

    @property
    def page(self) -> Path:
        """The page."""
        return self.root / "report.html"

    @property
    def runs(self) -> list[Path]:
        """The folders of its runs."""
        return sorted(path.parent for path in self.root.glob("*/*/manifest.json"))


def new_folder(cluster: Cluster, runs_dir: str | None) -> TestFolder:
    """The folder of a new test, which is not made yet.

    Args:
        cluster: the profile.
        runs_dir: where run folders go, instead of the profile's runs_root.
    """
    letters = "".join(secrets.choice(_LETTERS) for _ in range(4))
    name = f"{cluster.name}-{time.strftime('%Y%m%d-%H%M')}-{letters}"
    return TestFolder(Path(runs_dir or cluster.runs_root).absolute() / _PARENT / name)


def make(folder: TestFolder) -> None:
    """Make the folder.

    Raises:
        RunError: it cannot be made.
    """
    try:
        folder.root.mkdir(parents=True)
        folder.record.write_text("{}\n", encoding="utf-8")
    except OSError as error:
        fix = "choose another --runs-dir"
        raise refusal(f"cannot write {folder.root}", error, fix) from error


def remove_earlier(folder: TestFolder, cluster: Cluster) -> list[Path]:
    """Remove the folders of earlier tests of this profile, unless one has not ended.

    One test may go on while another begins: it writes its record at its end.

    Args:
        folder: this test's.
        cluster: the profile.

    Returns:
        those that stay, as they have not ended or cannot be removed.
    """
    staying = []
    for earlier in _earlier(folder, cluster):
        if _has_ended(earlier) and all(_is_over(run) for run in earlier.runs):
            shutil.rmtree(earlier.root, ignore_errors=True)
        if earlier.root.exists():
            staying.append(earlier.root)
    return staying


def _earlier(folder: TestFolder, cluster: Cluster) -> Iterator[TestFolder]:
    name = re.compile(rf"{re.escape(cluster.name)}-\d{{8}}-\d{{4}}-[{_LETTERS}]{{4}}")
    for root in sorted(folder.root.parent.glob("*")):
        other = TestFolder(root)
        if not name.fullmatch(root.name):
            continue  # mn5-acc is another profile than mn5
        if root != folder.root and not root.is_symlink() and other.record.is_file():
            yield other


def _has_ended(test: TestFolder) -> bool:
    """Whether nobody follows the jobs of a test any more."""
    try:
        age_s = time.time() - test.record.stat().st_mtime
    except OSError:  # another test has just removed it
        return False
    return bool(read_json(test.record)) or age_s > _LEFT_S


def _is_over(run: Path) -> bool:
    try:
        return Run(run).status().final
    except RunError:
        return True
