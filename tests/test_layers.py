"""Which room of hpcdl may import which: downwards only, by reading every import, lazy ones too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hpcdl"
# From the ground up. A room imports only rooms of earlier lines; those of one line do not know each other.
FLOORS = [
    "errors variables shipped machine extras binds imageaddress sources loadedfiles trainer",
    "oserrors job scriptpaths searchpath",
    "files",
    "cache data",
    "cluster sets",
    "planning scheduler",
    "container gathering asjob",
    "image thismachine",
    "packages",
    "run",
    "script shown",
    "bundle launch report",
    "submission",
    "preflight",
    "api discover",
    "cli",
    "__main__",
]
# Imports that run up today. The list only shrinks.
UP = {
    ("cluster", "discover"),  # the writer of YAML
    ("cluster", "script"),  # a text in one line
    ("scheduler", "run"),  # the word for a job that SLURM does not know; a run's paths
}
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms.split()}


def imports(package: Path) -> Iterator[tuple[str, str, str]]:
    """The room of a file, a room that it imports, and the line, for each import of one of the package's rooms."""
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room == "__init__":
            continue  # the public names
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for module in modules_of(node):
                parts = module.split(".")
                if parts[0] == "hpcdl" and len(parts) > 1 and parts[1] != room:
                    yield room, parts[1], f"{path.relative_to(package)}:{getattr(node, 'lineno', 0)}"


def modules_of(node: ast.AST) -> list[str]:
    """The modules that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "hpcdl":
        return [f"hpcdl.{alias.name}" for alias in node.names if not alias.name.startswith("__")]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module]
    return []


def running_up(package: Path) -> list[str]:
    """The imports of a room that does not stand below, each with its place."""
    wrong = []
    for room, imported, place in imports(package):
        if LEVEL[imported] >= LEVEL[room] and (room, imported) not in UP:
            wrong.append(f"{place} imports {imported}")
    return wrong


def test_no_import_runs_up():
    assert running_up(PACKAGE) == []


def test_every_room_has_a_floor():
    rooms = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert rooms - {"__init__", "__pycache__"} == set(LEVEL)


def test_exceptions_are_still_needed():
    assert {(room, imported) for room, imported, _ in imports(PACKAGE)} >= UP


def test_container_side_imports_nothing_of_the_hosts():
    assert {imported for room, imported, _ in imports(PACKAGE) if room == "trainer"} == set()


@pytest.mark.parametrize(
    "line",
    [
        "from hpcdl.cli import main",
        "import hpcdl.cli.program",
        "from hpcdl import cli",
        "def f():\n    from hpcdl.run import Run",
    ],
)
def test_planted_import_that_runs_up_is_seen(tmp_path, line):
    (tmp_path / "planning.py").write_text(f"{line}\n")

    assert len(running_up(tmp_path)) == 1
