"""The figures of how the code reads: each kind that is planted is counted, and a passed limit ends lint."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[1]
PLANTED = '''"""A module."""


def function(row, count):
    """A docstring
    of two lines is no code."""
    # nor is a comment
    found = [item for item in row if item]
    return found if count else None


total = 1
'''


@pytest.fixture
def figures(monkeypatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("figures", REPOSITORY / ".ci/figures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "figures", module)
    spec.loader.exec_module(module)
    return module


def test_each_kind_is_counted(figures, tmp_path):
    path = tmp_path / "planted.py"
    path.write_text(PLANTED + f"long = {'1 + ' * 30}1\n")

    values = [figure.value for figure in figures.figures(tmp_path)]

    lines_of_code = 5
    assert figures.code_lines(path) == lines_of_code
    lengths, comprehensions, conditionals, long_lines, vague = values[:3], *values[3:]
    assert lengths == [2, 2, 2]
    assert (comprehensions, conditionals) == (1000 / lines_of_code, 1000 / lines_of_code)
    assert long_lines == pytest.approx(100 / 13)
    assert vague == pytest.approx(100 * 2 / 6), (
        "row and found, of row, count, found, item, total, long"
    )


def test_passed_limit_fails(figures, monkeypatch, capsys, tmp_path):
    (tmp_path / "planted.py").write_text(PLANTED)
    assert figures.main([]) == 0
    monkeypatch.setattr(figures, "CODE", tmp_path)

    assert figures.main([]) == 1
    assert "comprehensions in 1,000 lines of code" in capsys.readouterr().out
