"""The trainer runs inside users' containers: Python 3.8, numpy, tensorflow and itself."""

import ast
import sys
from pathlib import Path

import pytest

import hpcdl

PACKAGE = Path(hpcdl.__file__).parent
FILES = [
    PACKAGE / "__init__.py",
    *sorted((PACKAGE / "contract").rglob("*.py")),
    *sorted((PACKAGE / "in_image").rglob("*.py")),
    *sorted((PACKAGE / "trainer").rglob("*.py")),
]


def imported_modules(tree):
    """What a module imports when it runs: not what only a type checker reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_file_parses_as_python_3_8(file):
    ast.parse(file.read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_stay_inside(file):
    # A notebook's helpers run under another package name, and save matplotlib's figures
    extra: tuple[str, ...] = ()
    if file.parent.name == "support":
        extra = ("hpcdl_support", "matplotlib")
    if file.name == "pillow.py":  # used only where the image has it
        extra = ("PIL",)
    for module in imported_modules(ast.parse(file.read_text())):
        top = module.split(".")[0]
        if top == "hpcdl":
            room = module.split(".")[1]
            assert room in ("contract", "trainer")
        else:
            known = ("numpy", "tensorflow", "h5py", *extra)  # TensorFlow itself needs h5py
            assert top in known or top in sys.stdlib_module_names, module


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_relative_imports_only_in_support(file):
    """A run's copy of trainer/support has another package name, so it cannot name itself."""
    imports = [
        node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)
    ]
    relative_imports = [node for node in imports if node.level > 0]

    assert not relative_imports or file.parent.name == "support"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_module_has_docstring(file):
    first = (ast.get_docstring(ast.parse(file.read_text())) or "").splitlines()[0]
    assert first.endswith(".") or "``" in first
