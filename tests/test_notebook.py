"""The notebook of the docs: every cell runs, on a real kernel, and shows what its text says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs/sweep-in-a-notebook.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    return client.execute()


def outputs(notebook, cell: int) -> dict[str, Any]:
    """The data that a code cell shows last, by MIME type."""
    cells = [item for item in notebook.cells if item.cell_type == "code"]
    return dict(cells[cell].outputs[-1]["data"])


@pytest.mark.tensorflow
def test_notebook_of_docs_runs(executed):
    assert outputs(executed, 1)["text/plain"].startswith("{'done': 4")
    assert outputs(executed, 2)["text/html"].count("<tr>") == 5
    assert "array([" in outputs(executed, 5)["text/plain"]
    assert outputs(executed, 7)["text/plain"] == "True"


def test_notebook_is_stored_without_outputs():
    assert '"outputs": []' in NOTEBOOK.read_text()
    assert '"output_type"' not in NOTEBOOK.read_text()
