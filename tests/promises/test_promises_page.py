"""The page of a test of a site: complete in itself, and readable on a phone and on a desk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpcdl.promises.folder import TestFolder
from hpcdl.promises.judging import judge
from hpcdl.promises.names import PROMISES
from hpcdl.promises.outcome import Outcome
from hpcdl.promises.page import page
from tests.browser import Browser
from tests.promises.test_verdicts import SITE, recorded


def outcome_of(folder: Path) -> Outcome:
    """A test in which promises are kept, broken, not tried and not needed."""
    evidence = recorded()
    stop = replace(
        evidence["stop"], attempts=evidence["stop"].attempts[:1], output="<b>disabled</b>"
    )
    endless = replace(evidence["memory"], state="failed", message=f"/gpfs/{'x' * 300}")
    evidence = {**evidence, "stop": stop, "node": replace(evidence["node"], gpus=0)}
    evidence["memory"] = endless
    verdicts = judge(PROMISES, evidence, SITE)
    return Outcome(TestFolder(folder), SITE.name, verdicts, evidence, ["Tried today."])


def test_page_says_what_to_change(tmp_path: Path) -> None:
    outcome = outcome_of(tmp_path / "cluster-test")
    (tmp_path / "cluster-test").mkdir()
    outcome.write()
    text = page(outcome)

    assert "requeue: false" in text
    assert "&lt;b&gt;disabled" in text
    assert "http" not in text.partition("</style>")[2]
    for verdict in outcome.verdicts.values():
        assert verdict.outcome in text
    assert '"requeue": false' in outcome.folder.record.read_text()


@pytest.mark.parametrize("width", [390, 1280])
def test_page_fits_the_window(tmp_path: Path, browser: Browser, width: int) -> None:
    path = tmp_path / "page.html"
    path.write_text(page(outcome_of(tmp_path)), encoding="utf-8")
    browser.open(path, width)

    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("document.querySelectorAll('.promises section').length") == len(PROMISES)
    assert browser.complaints() + browser.requests() == []
