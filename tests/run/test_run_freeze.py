"""What is frozen with a run: hpcdl's code once per version, the user's script with what it imports, notebooks."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import hpcdl
from hpcdl.errors import UserError
from hpcdl.job import load_job
from hpcdl.run import freeze
from hpcdl.run.freeze import code_sha, freeze_code, freeze_user_files
from hpcdl.run.notebook import script_of


def notebook(*cells: object, language: str = "python") -> str:
    """A notebook's text: each cell is the source of a code cell, or (kind, source)."""
    rows = [cell if isinstance(cell, tuple) else ("code", cell) for cell in cells]
    return json.dumps(
        {
            "cells": [{"cell_type": kind, "source": source} for kind, source in rows],
            "metadata": {"kernelspec": {"language": language}},
            "nbformat": 4,
        }
    )


def names_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_code_kept_once(tmp_path):
    first = freeze_code(tmp_path)
    inode = first.stat().st_ino
    again = freeze_code(tmp_path)

    assert first == again == tmp_path / ".code" / code_sha()
    assert again.stat().st_ino == inode
    assert os.listdir(tmp_path / ".code") == [code_sha()]


def test_frozen_code_is_complete(tmp_path):
    folder = freeze_code(tmp_path)

    program = "import hpcdl, hpcdl.launch, hpcdl.trainer.spec; print(hpcdl.__file__, hpcdl.__version__)"
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )

    assert done.stdout.split() == [str(folder / "hpcdl" / "__init__.py"), hpcdl.__version__]
    assert not [name for name in names_below(folder) if name.endswith(".yaml")]


def test_code_hash_by_content(tmp_path, monkeypatch):
    package = tmp_path / "hpcdl"
    freeze.copy_code(package)
    before = code_sha()

    monkeypatch.setattr(freeze, "_PACKAGE", package)
    assert code_sha() == before, "a copy elsewhere is the same code"
    (package / "planning.py").write_text((package / "planning.py").read_text() + "\n")
    assert code_sha() != before


def test_script_with_what_it_imports(tmp_path):
    beside = {
        "a.py": "import os, numpy\nimport helper\nfrom pack.inner import x\nfrom names.deep import y\n",
        "helper.py": "import second\n",
        "second.py": "import helper\n",  # they import each other
        "pack/__init__.py": "",
        "pack/inner.py": "import third\nx = 1\n",
        "pack/data.txt": "text",
        "pack/__pycache__/inner.pyc": "",
        "names/deep.py": "y = 1\n",  # a package without __init__.py
        "third.py": "",
        "unused.py": "",
        "weights/w.bin": "",
        "job.yaml": "name: a\nscript: a.py\nfiles: [weights, pack/data.txt]\n",
    }
    for name, content in beside.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(content)

    freeze_user_files(load_job(tmp_path / "in" / "job.yaml"), tmp_path / "out")

    assert names_below(tmp_path / "out") == [
        "a.py",
        "helper.py",
        "names/deep.py",
        "pack/__init__.py",
        "pack/data.txt",
        "pack/inner.py",
        "second.py",
        "third.py",
        "weights/w.bin",
    ]


@pytest.mark.parametrize("inside", ["from hpcdl.trainer.callback import SaveAndStop\n", "import mine\n"])
def test_callback_comes_along(write_job, tmp_path, inside):
    beside = {"mine__py": "from hpcdl.trainer import callback\n"} if "mine" in inside else {}
    path = write_job("name: a\nscript: a.py\n", a__py=inside, **beside)

    freeze_user_files(load_job(path), tmp_path / "out")

    package = ["hpcdl/__init__.py", "hpcdl/trainer/__init__.py", "hpcdl/trainer/callback.py"]
    assert [name for name in names_below(tmp_path / "out") if name.startswith("hpcdl")] == package


def test_other_hpcdl_is_left_alone(write_job, tmp_path):
    freeze_user_files(load_job(write_job("name: a\nscript: a.py\n", a__py="import hpcdl\n")), tmp_path / "out")

    assert names_below(tmp_path / "out") == ["a.py"]


def test_files_in_any_order(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_text("x")
    (tmp_path / "a.py").write_text("")
    (tmp_path / "job.yaml").write_text("name: a\nscript: a.py\nfiles: [d/x, d]\n")

    freeze_user_files(load_job(tmp_path / "job.yaml"), tmp_path / "out")

    assert names_below(tmp_path / "out") == ["a.py", "d/x"]


def test_file_elsewhere_lies_beside_script(write_job, tmp_path):
    (tmp_path / "deep").mkdir()
    path = write_job("name: a\nscript: ../a.py\nfiles: [../b.txt]\n", "deep/job.yaml", a__py="", b__txt="b")

    freeze_user_files(load_job(path), tmp_path / "out")

    assert names_below(tmp_path / "out") == ["a.py", "b.txt"]


def test_function_frozen(write_job, tmp_path):
    path = write_job(
        "name: a\ndata: {name: m}\nmodel: {function: own:build}\n",
        own__py="import helper\n",
        helper__py="",
        other__py="",
    )

    freeze_user_files(load_job(path), tmp_path / "out")

    assert names_below(tmp_path / "out") == ["helper.py", "own.py"]


def test_script_not_python_frozen(write_job, tmp_path):
    path = write_job("name: a\nscript: a.py\n", a__py="print 'Python 2'\n")

    freeze_user_files(load_job(path), tmp_path / "out")

    assert (tmp_path / "out" / "a.py").read_text() == "print 'Python 2'\n"


def test_broken_link_refused(write_job, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "link").symlink_to("nowhere")

    with pytest.raises(UserError, match=r"cannot copy .*/d: .*nowhere|cannot copy .*/d: .*link"):
        freeze_user_files(load_job(write_job("name: a\nscript: a.py\nfiles: [d]\n", a__py="")), tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "is not a Jupyter notebook"),
        ("[]", "is not a Jupyter notebook"),
        ('{"worksheets": []}', "is not a Jupyter notebook"),
        ('{"cells": [{}]}', "is not a Jupyter notebook"),
        (notebook("x <- 1", language="R"), "is a notebook in R; hpcdl runs Python notebooks only"),
        (notebook(("markdown", "# Title"), "  "), "all its code cells are empty"),
        (notebook(7), "is not a Jupyter notebook"),
    ],
    ids=["empty", "list", "no-cells", "no-type", "R", "no-code", "number"],
)
def test_not_a_notebook_refused(tmp_path, content, part):
    path = tmp_path / "a.ipynb"
    path.write_text(content)

    with pytest.raises(UserError, match=part):
        script_of(path)


@pytest.mark.cases("F9", "F10")
@pytest.mark.parametrize("key", ["files: [lib]", "env: {A: b}"], ids=["named", "imported"])
def test_links_without_end_are_left(tmp_path, key):
    """A folder that holds links to itself is copied once; an editor's lock is no file."""
    lib = tmp_path / "lib"
    (lib / "in").mkdir(parents=True)
    (lib / "a.py").write_text("A = 1\n")
    (lib / "self").symlink_to(".")
    (lib / "in" / "up").symlink_to("..")
    (lib / ".#a.py").symlink_to("user@host.1:2")
    (tmp_path / "s.py").write_text("import lib\n")
    (tmp_path / "job.yaml").write_text(f"name: a\nscript: s.py\n{key}\n")

    freeze_user_files(load_job(tmp_path / "job.yaml"), tmp_path / "run")

    copied = sorted(path.name for path in (tmp_path / "run" / "lib").rglob("*"))
    assert copied == ["a.py", "in"]
