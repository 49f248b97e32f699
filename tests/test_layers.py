"""Which room of hpcdl may import which: downwards only, by reading every import, lazy ones too."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hpcdl"
# From the ground up. A room imports only rooms of earlier lines; those of one line do not know
# each other.
FLOORS = {
    "hpcdl": [
        "contract environment errors extras formats image_address in_image shipped text",
        "batchscript modules oserrors trainer yamlfile",
        "files job",
        "cache cluster staging",
        "adopt planning scheduler",
        "planfile run",
        "scaling sweeps",
        "local_machine report usercode worker",
        "predict",
        "mounts",
        "container",
        "image script",
        "launch packages",
        "submission",
        "preflight shell",
        "api discover jupyter promises",
        "cli",
        "__main__",
    ],
    "hpcdl.trainer": [
        "callback compat support",
        "runtime",
        "files",
        "dataset node_facts",
        "session",
        "explain fit model",
        "export result",
        "predict probe stages",
        "training",
        "serve",
        "__main__",
    ],
}


@dataclass(frozen=True)
class RoomImport:
    """A room's import of another room of the same package, and the file and line where it stands."""

    room: str
    imported: str
    place: str


def room_imports(folder: Path, package: str) -> Iterator[RoomImport]:
    """Each import in a package's folder that leads from one of its rooms to another."""
    for path in sorted(folder.rglob("*.py")):
        relative_path = path.relative_to(folder)
        room = relative_path.parts[0].removesuffix(".py")
        if room == "__init__":
            continue  # the public names
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for imported in imported_rooms(node, package):
                if imported != room:
                    line = getattr(node, "lineno", 0)
                    yield RoomImport(room, imported, f"{relative_path}:{line}")


def imported_rooms(node: ast.AST, package: str) -> set[str]:
    """The rooms of a package that a statement imports."""
    modules = []
    if isinstance(node, ast.Import):
        modules = [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module == package:
        modules = [f"{package}.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        modules = [node.module]
    below = [
        module.removeprefix(f"{package}.") for module in modules if module.startswith(f"{package}.")
    ]
    return {module.partition(".")[0] for module in below}


def running_up(folder: Path, package: str) -> list[str]:
    """The places of imports whose room does not stand below."""
    levels = {room: level for level, rooms in enumerate(FLOORS[package]) for room in rooms.split()}
    return [
        f"{found.place} imports {found.imported}"
        for found in room_imports(folder, package)
        if levels[found.imported] >= levels[found.room]
    ]


def folder_of(package: str) -> Path:
    return PACKAGE.parent.joinpath(*package.split("."))


@pytest.mark.parametrize("package", FLOORS)
def test_no_import_goes_up(package):
    assert running_up(folder_of(package), package) == []


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_a_floor(package):
    entries = [
        path for path in folder_of(package).iterdir() if path.suffix == ".py" or path.is_dir()
    ]
    rooms = {path.name.removesuffix(".py") for path in entries} - {"__init__", "__pycache__"}

    assert sorted(rooms) == sorted(" ".join(FLOORS[package]).split())


def test_trainer_imports_only_contract():
    imported = {
        found.imported for found in room_imports(PACKAGE, "hpcdl") if found.room == "trainer"
    }

    assert imported == {"contract"}


@pytest.mark.parametrize(("room", "others"), [("contract", {"hpcdl"}), ("in_image", set())])
def test_imports_only_standard_library(room, others):
    """The host reads the contract before other packages; an image gets one file of in_image."""
    roots = set()
    for path in (PACKAGE / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                roots |= {alias.name.partition(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0
                roots.add(str(node.module).partition(".")[0])

    assert roots <= sys.stdlib_module_names | others


@pytest.mark.parametrize(
    "line",
    [
        "from hpcdl.cli import main",
        "import hpcdl.cli.program",
        "from hpcdl import cli",
        "def f():\n    from hpcdl.run import Run",
    ],
)
def test_planted_upward_import_is_found(tmp_path, line):
    (tmp_path / "planning.py").write_text(f"{line}\n")

    assert len(running_up(tmp_path, "hpcdl")) == 1


def test_planted_trainer_import_is_found(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "rundir.py").write_text("from hpcdl.trainer.fit import loop\n")

    assert running_up(tmp_path, "hpcdl.trainer") == ["files/rundir.py:1 imports fit"]
