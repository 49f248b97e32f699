"""`hpcdl report RUN --open`: a browser, or one sentence."""

from __future__ import annotations

import os
import stat
import sys

import pytest

from tests.report import made

pytestmark = [
    pytest.mark.cases("F21"),
    pytest.mark.skipif(sys.platform != "linux", reason="xdg-open is Linux's"),
]


@pytest.fixture
def opener(tmp_path, monkeypatch):
    """Puts an xdg-open of a given behaviour on PATH, and a display."""

    def install(text, display=":0"):
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "xdg-open"
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
            monkeypatch.delenv(name, raising=False)
        if display:
            monkeypatch.setenv("DISPLAY", display)

    return install


def test_login_node_gives_one_sentence(tmp_path, hpcdl_process, opener):
    opener("echo called; for n in 1 2 3 4 5 6 7; do echo 'not found' >&2; done; exit 3", display="")
    folder = made.script(tmp_path)

    answer = hpcdl_process("report", folder, "--open")

    page = folder / "report.html"
    assert (answer.code, answer.out) == (1, f"{page}\n")
    assert answer.err == f"no browser can be opened here; copy {page} to your own machine\n"
    assert page.exists()


def test_failing_opener_is_reported_quietly(tmp_path, hpcdl_process, opener):
    opener("echo 'xdg-open: no method available' >&2; exit 3")

    answer = hpcdl_process("report", made.script(tmp_path), "--open")

    assert answer.code == 1
    assert answer.err.startswith("no browser can be opened here")
    assert answer.err.count("\n") == 1


def test_browser_gets_the_page(tmp_path, cli, opener):
    opener(f'printf %s "$1" > {tmp_path}/opened')

    answer = cli("report", made.script(tmp_path), "--open", "-o", tmp_path / "my page.html")

    assert (answer.code, answer.err) == (0, "")
    assert (tmp_path / "opened").read_text() == f"{tmp_path}/my page.html"
