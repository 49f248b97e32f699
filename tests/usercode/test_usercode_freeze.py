"""What is frozen with a run: hpcdl's code once per version, the user's script with what it imports, notebooks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hpcdl
from hpcdl.errors import RunError, UserError
from hpcdl.job import load_job
from hpcdl.run.paths import RunPaths
from hpcdl.submission.create import put_files
from hpcdl.usercode import freeze
from hpcdl.usercode.freeze import code_sha, freeze_code, freeze_user_files
from hpcdl.usercode.notebook import script_of
from hpcdl.usercode.search_path import added_folders


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


def test_code_is_frozen_once(tmp_path):
    first = freeze_code(tmp_path)
    inode = first.stat().st_ino
    again = freeze_code(tmp_path)

    assert first == again == tmp_path / ".code" / code_sha()
    assert again.stat().st_ino == inode
    assert os.listdir(tmp_path / ".code") == [code_sha()]


def test_changing_code_is_not_frozen(tmp_path):
    """Under the name of one version there is never another one's code."""
    with pytest.raises(RunError, match="hpcdl itself is being changed"):
        freeze_code(tmp_path, sha="0123456789abcdef")

    assert os.listdir(tmp_path / ".code") == []


def test_frozen_code_is_complete(tmp_path):
    folder = freeze_code(tmp_path)
    web = "hpcdl/trainer/export/web"  # the page that a run exports
    assert names_below(folder / web)
    assert names_below(folder / web) == names_below(Path(hpcdl.__file__).parents[1] / web)

    program = (
        "import hpcdl, hpcdl.launch, hpcdl.contract.spec; print(hpcdl.__file__, hpcdl.__version__)"
    )
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )

    assert done.stdout.split() == [str(folder / "hpcdl" / "__init__.py"), hpcdl.__version__]
    names = names_below(folder)
    assert "hpcdl/_data/templates/report/page.html.j2" in names, "for commands that are jobs"
    others = [name for name in names if name.endswith(".yaml") and "/cluster/profiles/" not in name]
    assert others == ["hpcdl/promises/programs/train.yaml"], "no job that ships"


def test_code_hash_by_content(tmp_path, monkeypatch):
    package = tmp_path / "hpcdl"
    freeze.copy_code(package)
    before = code_sha()

    monkeypatch.setattr(freeze, "_PACKAGE", package)
    assert code_sha() == before, "a copy elsewhere is the same code"
    (package / "planfile.py").write_text((package / "planfile.py").read_text() + "\n")
    assert code_sha() != before


def test_script_is_frozen_with_imports(tmp_path):
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


SEARCH_PATHS = [
    'sys.path.append("src")',
    'sys.path.insert(0, "./src/")',
    'sys.path += ["src"]',
    'sys.path.extend(["nothing", "src"])',
    'sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "src"))',
    'sys.path.append(str(Path(__file__).resolve().parent / "src"))',
    'sys.path.append(str(Path(__file__).parent / "src" / "deep" / ".."))',
]


@pytest.mark.cases("C17")
@pytest.mark.parametrize("adds", SEARCH_PATHS)
def test_modules_on_sys_path(tmp_path, adds):
    """A program that puts src on sys.path finds its modules in a run, too, wherever it works."""
    folder = tmp_path / "in"
    (folder / "src" / "deep").mkdir(parents=True)
    (folder / "src" / "unused.py").write_text("")
    (folder / "src" / "helper.py").write_text("import second\nN = second.N\n")
    (folder / "src" / "second.py").write_text("N = 7\n")
    (folder / "src" / "deep" / "x.txt").write_text("")
    program = f"import os, sys\nfrom pathlib import Path\n{adds}\nimport helper\nprint(helper.N)\n"
    (folder / "t.py").write_text(program)
    (folder / "a.yaml").write_text("name: a\nscript: t.py\n")
    job, paths = load_job(folder / "a.yaml"), RunPaths(tmp_path / "run")
    paths.work.mkdir(parents=True)

    freeze_user_files(job, paths.user)
    put_files(job, paths)

    assert names_below(paths.user) == ["src/helper.py", "src/second.py", "t.py"]
    (paths.user / "src" / "deep").mkdir()  # what src/deep/.. needs, on some systems
    argv = [sys.executable, str(paths.user / "t.py")]
    done = subprocess.run(argv, cwd=paths.work, capture_output=True, text=True)
    assert done.stdout == "7\n", done.stderr


@pytest.mark.cases("C17")
@pytest.mark.parametrize(
    ("adds", "folders"),
    [
        ('sys.path.append(str(Path(__file__).resolve().parent.parent / "lib"))', ["../lib"]),
        (
            'sys.path.append(os.path.join(os.path.dirname(os.path.dirname(__file__)), "lib"))',
            ["../lib"],
        ),
        ('sys.path.append("..")', [".."]),
        ('sys.path.append("/shared/lib")', ["/shared/lib"]),
        ("sys.path.append(os.getcwd())", []),
        ("sys.path.append(root)", []),
        ('path.append("src")\nprint("sys.path")', []),
        ('sys.path.remove("src")', []),
        ("sys.path.append(", []),
    ],
)
def test_folders_added_to_sys_path(adds, folders):
    assert added_folders(f"import sys\n{adds}\n") == folders


@pytest.mark.parametrize(
    "inside", ["from hpcdl.trainer.callback import SaveAndStop\n", "import mine\n"]
)
def test_callback_is_frozen_with_code(write_job, tmp_path, inside):
    beside = {"mine__py": "from hpcdl.trainer import callback\n"} if "mine" in inside else {}
    path = write_job("name: a\nscript: a.py\n", a__py=inside, **beside)

    freeze_user_files(load_job(path), tmp_path / "out")

    package = [
        "hpcdl/__init__.py",
        "hpcdl/contract/__init__.py",
        "hpcdl/contract/version.py",
        "hpcdl/trainer/__init__.py",
        "hpcdl/trainer/callback.py",
    ]
    assert [name for name in names_below(tmp_path / "out") if name.startswith("hpcdl")] == package
    program = "import hpcdl; print(hpcdl.__version__)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=tmp_path / "out", capture_output=True, text=True
    )
    assert done.stdout == f"{hpcdl.__version__}\n"


def test_other_hpcdl_is_not_frozen(write_job, tmp_path):
    freeze_user_files(
        load_job(write_job("name: a\nscript: a.py\n", a__py="import hpcdl\n")), tmp_path / "out"
    )

    assert names_below(tmp_path / "out") == ["a.py"]


def test_files_in_any_order(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_text("x")
    (tmp_path / "a.py").write_text("")
    (tmp_path / "job.yaml").write_text("name: a\nscript: a.py\nfiles: [d/x, d]\n")

    freeze_user_files(load_job(tmp_path / "job.yaml"), tmp_path / "out")

    assert names_below(tmp_path / "out") == ["a.py", "d/x"]


def test_outside_file_goes_next_to_script(write_job, tmp_path):
    (tmp_path / "deep").mkdir()
    path = write_job(
        "name: a\nscript: ../a.py\nfiles: [../b.txt]\n", "deep/job.yaml", a__py="", b__txt="b"
    )

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


def test_script_that_is_not_python(write_job, tmp_path):
    path = write_job("name: a\nscript: a.py\n", a__py="print 'Python 2'\n")

    freeze_user_files(load_job(path), tmp_path / "out")

    assert (tmp_path / "out" / "a.py").read_text() == "print 'Python 2'\n"


@pytest.mark.cases("C24")
@pytest.mark.parametrize("job", ["files: [d]", "files: [d, d]"])
def test_dangling_link_stays_link(write_job, tmp_path, job):
    """A link to nowhere is copied as it is; a link to a file or folder is followed."""
    (tmp_path / "d" / "deep").mkdir(parents=True)
    (tmp_path / "d" / "link").symlink_to("nowhere")
    (tmp_path / "d" / "deep" / "up").symlink_to("../..")
    (tmp_path / "d" / "shown").symlink_to("../a.py")

    job = f"name: a\nscript: a.py\n{job}\n"
    freeze_user_files(load_job(write_job(job, a__py="import d.x")), tmp_path / "out")

    copied = tmp_path / "out" / "d"
    assert os.readlink(copied / "link") == "nowhere"
    assert os.readlink(copied / "deep" / "up") == "../.."
    assert (copied / "shown").read_text() == "import d.x"
    assert not (copied / "shown").is_symlink()


def write_all(folder, files):
    """Write files by their names; the value is text or bytes."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.cases("C9")
@pytest.mark.parametrize(
    "source",
    [
        b"\xef\xbb\xbfimport helper\n",
        b"# -*- coding: latin-1 -*-\nname = 'Jos\xe9'\nimport helper\n",
        b"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\nname = '\x80'\nimport helper\n",
        b"# coding: utf-16-is-no-such\n\nimport helper\n",
        b"# caf\xe9\nimport helper\n",
        b"import os\r\nimport helper\r\n",
        b"import os\rimport helper\r",
        b"import os\n\x0c\nimport helper\n",
        b"import helper\npattern = '\\d'\n",
    ],
    ids=["mark", "latin", "vim", "unknown", "wrong", "crlf", "cr", "feed", "escape"],
)
def test_source_read_as_python_does(tmp_path, source):
    """What a script imports is found whatever encoding and newlines it has; its bytes are copied."""
    write_all(tmp_path, {"t.py": source, "helper.py": "", "job.yaml": "name: a\nscript: t.py\n"})

    freeze_user_files(load_job(tmp_path / "job.yaml"), tmp_path / "out")

    assert names_below(tmp_path / "out") == ["helper.py", "t.py"]
    assert (tmp_path / "out" / "t.py").read_bytes() == source


@pytest.mark.cases("C9")
@pytest.mark.parametrize("source", [f"x = {'-' * 100_000}1\n", f"x = 1{'+1' * 100_000}\n", "\0"])
def test_deep_source_is_copied(tmp_path, source):
    """A program that Python's parser gives up on is copied; its run says what is wrong."""
    write_all(tmp_path, {"t.py": source, "job.yaml": "name: a\nscript: t.py\n"})

    freeze_user_files(load_job(tmp_path / "job.yaml"), tmp_path / "out")

    assert names_below(tmp_path / "out") == ["t.py"]


PACKAGES = [
    ({"mylib/models/cnn.py": ""}, "from mylib.models.cnn import build"),
    ({"mylib/models/cnn.py": ""}, "from mylib.models import cnn"),
    ({"mylib/models/cnn.py": ""}, "from mylib import models"),
    ({"mylib/a/b/c.py": ""}, "import mylib.a.b.c as c"),
    ({"mylib/a/__init__.py": "", "mylib/a/b/c.py": ""}, "from mylib.a.b.c import *"),
    ({"mylib/x.py": "from . import y", "mylib/y.py": "", "mylib/sub/z.py": ""}, "import mylib.x"),
    ({"mylib/sub/x.py": "from .. import y", "mylib/y.py": ""}, "from mylib.sub import x"),
    (
        {"mylib/sub/x.py": "import other.deep.z", "other/deep/z.py": "", "mylib/y.py": ""},
        "import mylib",
    ),
    ({"fast.cpython-311-x86_64-linux-gnu.so": ""}, "import fast"),
    ({"mylib/sub/fast.abi3.so": ""}, "import mylib.sub.fast"),
]


@pytest.mark.cases("C17")
@pytest.mark.parametrize(("files", "program"), PACKAGES)
def test_packages_are_frozen(tmp_path, files, program):
    """Packages with or without ``__init__.py`` are copied whole, and what they import."""
    write_all(tmp_path, {**files, "t.py": program, "job.yaml": "name: a\nscript: t.py\n"})

    freeze_user_files(load_job(tmp_path / "job.yaml"), tmp_path / "out")

    assert names_below(tmp_path / "out") == sorted([*files, "t.py"])


@pytest.mark.cases("C17")
@pytest.mark.parametrize("program", ["import wandb", "import wandb.sdk", "from wandb import init"])
def test_folder_of_logs_is_not_copied(tmp_path, program):
    """A folder that is named like the image's package, and has no modules of it, is not copied."""
    write_all(
        tmp_path,
        {"wandb/run-1/files/t.py": "", "t.py": program, "job.yaml": "name: a\nscript: t.py\n"},
    )

    freeze_user_files(load_job(tmp_path / "job.yaml"), tmp_path / "out")

    assert names_below(tmp_path / "out") == ["t.py"]


@pytest.mark.cases("C11")
@pytest.mark.parametrize("runs", ["runs", "deep/er/runs"])
def test_folder_without_its_runs(tmp_path, runs):
    """``files: [.]`` takes all but the runs, git's folder and virtual environments."""
    others = {
        ".git/config": "",
        ".venv/pyvenv.cfg": "",
        ".venv/lib/x.py": "",
        "conda/conda-meta/history": "",
    }
    kept = {"t.py": "", "job.yaml": "name: a\nscript: t.py\nfiles: [.]\n", "data/x.csv": "1"}
    write_all(tmp_path, {**kept, **others})
    (tmp_path / "empty").mkdir()
    freeze_code(tmp_path / runs)
    for number in ("1", "2"):
        user = tmp_path / runs / "a" / number / "user"
        freeze_user_files(load_job(tmp_path / "job.yaml"), user)

        assert names_below(user) == sorted(kept)
        assert (user / "empty").is_dir()


@pytest.mark.cases("C11")
@pytest.mark.parametrize("files", ["runs", "runs/a", "."])
def test_folder_of_runs_refused(tmp_path, files):
    """A folder of runs is not copied into a run of its own."""
    text = f"name: a\nscript: t.py\nfiles: [{files}]\n"
    write_all(tmp_path, {"t.py": "", "job.yaml": text, "runs/a/x": ""})
    freeze_code(tmp_path if files == "." else tmp_path / "runs")
    target = tmp_path / ("" if files == "." else "runs") / "a" / "1" / "user"

    with pytest.raises(UserError, match="folder of runs"):
        freeze_user_files(load_job(tmp_path / "job.yaml"), target)


@pytest.mark.cases("C11")
def test_finished_run_can_be_copied(tmp_path):
    """One run, named in files, is copied into another."""
    text = "name: a\nscript: t.py\nfiles: [runs/a/1/checkpoints]\n"
    write_all(tmp_path, {"t.py": "", "job.yaml": text, "runs/a/1/checkpoints/x": ""})
    freeze_code(tmp_path / "runs")

    freeze_user_files(load_job(tmp_path / "job.yaml"), tmp_path / "runs" / "a" / "2")

    assert names_below(tmp_path / "runs" / "a" / "2") == ["runs/a/1/checkpoints/x", "t.py"]


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
def test_links_without_end_stay_links(tmp_path, key):
    """A folder that holds links to itself is copied once: they and an editor's lock stay links."""
    lib = tmp_path / "lib"
    (lib / "in").mkdir(parents=True)
    (lib / "a.py").write_text("A = 1\n")
    (lib / "self").symlink_to(".")
    (lib / "in" / "up").symlink_to("..")
    (lib / ".#a.py").symlink_to("user@host.1:2")
    (tmp_path / "s.py").write_text("import lib\n")
    (tmp_path / "job.yaml").write_text(f"name: a\nscript: s.py\n{key}\n")

    freeze_user_files(load_job(tmp_path / "job.yaml"), tmp_path / "run")

    copied = {path.name: path for path in (tmp_path / "run" / "lib").rglob("*")}
    assert sorted(copied) == [".#a.py", "a.py", "in", "self", "up"]
    assert [name for name, path in copied.items() if not path.is_symlink()] == ["a.py", "in"]


@pytest.mark.cases("C11")
@pytest.mark.parametrize(
    ("script", "files", "name"),
    [
        ("t.py", "[a/data.csv, sub/../b/data.csv]", None),
        ("t.py", "[../a/data.csv, ../b/data.csv]", "data.csv"),
        ("t.py", "[../a/t.py]", "t.py"),
        ("sub/t.py", "[.]", "t.py"),
        ("sub/t.py", "[t.py]", "t.py"),
        ("sub/t.py", "[../a, ../link]", None),
        ("t.py", "[sub, ../b/sub/t.py]", "t.py"),
        ("t.py", "[../a/sub, sub]", "sub"),
        ("uses.py", "[../a/helper.py]", "helper.py"),
    ],
)
def test_two_frozen_files_with_same_name(tmp_path, script, files, name):
    """The last would take the place of the first, and a job would read, or run, another file."""
    for folder in ("job/a", "job/b", "job/sub", "a/sub", "b/sub"):
        (tmp_path / folder).mkdir(parents=True)
    for path in (
        "job/a/data.csv",
        "job/b/data.csv",
        "a/data.csv",
        "b/data.csv",
        "a/helper.py",
        "a/t.py",
    ):
        (tmp_path / path).write_text(path)
    for path in ("job/t.py", "job/sub/t.py", "job/helper.py", "a/sub/t.py", "b/sub/t.py"):
        (tmp_path / path).write_text(f"# {path}\n")
    (tmp_path / "job/uses.py").write_text("import helper\n")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "job/job.yaml").write_text(f"name: a\nscript: {script}\nfiles: {files}\n")
    job = load_job(tmp_path / "job/job.yaml")

    if name is None:
        freeze_user_files(job, tmp_path / "run")
        assert (tmp_path / "run/t.py").read_text() == f"# job/{script}\n"
        return
    with pytest.raises(UserError, match=f"would both be {name} in the run; rename one"):
        freeze_user_files(job, tmp_path / "run")


@pytest.mark.cases("C11")
def test_pipes_are_not_copied(tmp_path):
    """A pipe or a socket in a folder stays behind; one that is named is refused."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "pipe")
    (tmp_path / "folder" / "a.csv").write_text("1\n")
    (tmp_path / "t.py").write_text("")
    (tmp_path / "a.yaml").write_text("name: a\nscript: t.py\nfiles: [folder]\n")

    freeze_user_files(load_job(tmp_path / "a.yaml"), tmp_path / "run")
    assert names_below(tmp_path / "run") == ["folder/a.csv", "t.py"]
    with pytest.raises(UserError, match="is a pipe, a socket or a device"):
        freeze_user_files(
            load_job(tmp_path / "a.yaml", ["files=[folder/pipe]"]), tmp_path / "other"
        )


@pytest.mark.cases("C24")
def test_links_to_each_other_stay_links(tmp_path):
    """They lead nowhere; Linux says "Too many levels of symbolic links" of each."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").symlink_to("b")
    (tmp_path / "folder" / "b").symlink_to("a")
    (tmp_path / "t.py").write_text("")
    (tmp_path / "a.yaml").write_text("name: a\nscript: t.py\nfiles: [folder]\n")

    freeze_user_files(load_job(tmp_path / "a.yaml"), tmp_path / "run")
    assert os.readlink(tmp_path / "run" / "folder" / "a") == "b"


@pytest.mark.cases("C17")
@pytest.mark.parametrize(
    "program",
    [
        'import importlib\nimportlib.import_module("models.cnn")\n',
        'from importlib import import_module\nimport_module(f"models.{name}")\n',
        'import importlib\nimportlib.import_module("models." + name)\n',
        '__import__("models.cnn")\n',
    ],
)
def test_modules_imported_by_text(write_job, tmp_path, program):
    path = write_job("name: a\nscript: a.py\n", a__py=program, other__py="")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "cnn.py").write_text("")

    freeze_user_files(load_job(path), tmp_path / "out")
    assert names_below(tmp_path / "out") == ["a.py", "models/cnn.py"]


@pytest.mark.parametrize(
    "program",
    [
        "import_module(name)\n",
        'import_module("./other")\n',
        "import_module()\n",
        'import_module("")\n',
    ],
)
def test_text_that_names_no_module(write_job, tmp_path, program):
    """Texts that are not the name of a module bring no file along."""
    path = write_job(
        "name: a\nscript: a.py\n",
        a__py=f"from importlib import import_module\n{program}",
        other__py="",
    )

    freeze_user_files(load_job(path), tmp_path / "out")
    assert names_below(tmp_path / "out") == ["a.py"]
