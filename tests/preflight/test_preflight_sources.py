"""What users bring as source is checked as Python would take it: encodings, packages, folders."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hpcdl.usercode.freeze import freeze_code


def notebook(source):
    """A notebook of one cell."""
    cell = {"cell_type": "code", "source": source}
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4}).encode()


def findings(world, check, job="script.yaml"):
    """What a check says of the script job: (cause, whether it blocks)."""
    report = world.check(job, only=check)
    assert report.skipped == []
    return [(finding.cause, finding.blocks) for _, finding in report.findings]


@pytest.mark.cases("C9")
@pytest.mark.parametrize(
    "source",
    [
        b"\xef\xbb\xbfimport json\n",
        b"# -*- coding: latin-1 -*-\nname = 'Jos\xe9'\n",
        b"import json\r\nif True:\r\n    x = '''\r\n'''\r\n",
        b"import json\n\x0c\nx = 1\n",
        b"x = 1" + b"+1" * 800 + b"\n",
    ],
    ids=["mark", "latin", "crlf", "feed", "sum"],
)
def test_source_of_any_encoding_passes(world, source):
    """What `python program.py` takes, check takes."""
    world.write("program.py", source)

    assert findings(world, "script") == []
    assert findings(world, "weights") == []


@pytest.mark.cases("C9")
@pytest.mark.parametrize(
    ("source", "part"),
    [
        (b"# caf\xe9\n", "line 1 has bytes that are not utf-8"),
        (b"import json\nx = 1\nname = 'Jos\xe9'\n", "line 3 has bytes that are not utf-8"),
        (b"# coding: klingon\n", "unknown encoding"),
        ("import json\n".encode("utf-16"), "it is UTF-16"),
    ],
)
def test_undecodable_source_is_found(world, source, part):
    """What Python cannot decode is said with its line, in packages, too."""
    world.write("program.py", "import package.inner\n")
    (world.folder / "package").mkdir()
    world.write("package/inner.py", source)

    causes = [cause for cause, blocks in findings(world, "script") if blocks]
    assert causes[0].startswith("package/inner.py cannot be decoded by Python: ")
    assert part in causes[0]


@pytest.mark.cases("C9")
@pytest.mark.parametrize("source", [f"x = {'-' * 100_000}1\n", f"x = 1{'+1' * 100_000}\n"])
def test_deep_source_is_a_finding(world, source):
    """A program that Python gives up on is refused in one sentence, by every check that reads it."""
    world.write("program.py", source)

    for check in ("weights", "paths"):
        assert findings(world, check) == []
    [(cause, blocks)] = findings(world, "script")
    assert blocks
    assert "does not compile" in cause
    assert "nested too deeply" in cause


@pytest.mark.cases("C17")
@pytest.mark.parametrize(
    "program",
    [
        "from lib.models.cnn import build",
        "import lib.models.cnn",
        "from lib.models import cnn",
        "from lib import models",
    ],
)
def test_package_without_init_passes(world, program):
    """A package without __init__.py beside the script is the one that is meant."""
    world.write("program.py", program)
    (world.folder / "lib" / "models").mkdir(parents=True)
    world.write("lib/models/cnn.py", "from . import parts\nfrom .. import models\n")
    world.write("lib/models/parts.py", "")

    assert findings(world, "script") == []


@pytest.mark.cases("C17")
def test_logs_folder_is_not_a_package(world):
    """A folder beside the script that has no module of that name does not hide what the image lacks."""
    world.write("program.py", "import wandb_x\n")
    (world.folder / "wandb_x" / "run").mkdir(parents=True)
    world.write("wandb_x/run/log.py", "")

    assert findings(world, "script") == [
        ("program.py imports wandb_x, which the image does not have", True)
    ]


@pytest.mark.cases("C11")
def test_files_leave_out_runs(world):
    """``files: [.]`` is checked without the runs and environments in it, which are named."""
    world.write(
        "script.yaml", 'name: a\nresources: {time: "01:00:00"}\nscript: program.py\nfiles: [.]\n'
    )
    (world.folder / "venv").mkdir()
    world.write("venv/pyvenv.cfg", "")
    world.write("venv/broken.py", "print 'x'\n")
    freeze_code(world.folder / "runs")

    assert findings(world, "script") == []
    report = world.check("script.yaml", only="paths")
    assert report.findings == []
    assert [note for note in report.notes if note.startswith("files: ")] == [
        f"files: {world.folder.name} is copied without runs/, venv/"
    ]


@pytest.mark.cases("C24")
@pytest.mark.parametrize(
    ("files", "key"), [("[]", "script"), ("[data2]", "files"), ("[data2/big.bin]", "files")]
)
def test_large_folder_is_a_warning(world, files, key):
    """A package or a folder of files above 50 MB is a warning with its largest file's name."""
    program = "from data2.loader import load\n" if key == "script" else "import json\n"
    world.write("program.py", program)
    world.write(
        "script.yaml",
        f'name: a\nresources: {{time: "01:00:00"}}\nscript: program.py\nfiles: {files}\n',
    )
    (world.folder / "data2").mkdir()
    world.write("data2/loader.py", "def load(): return 1\n")
    (world.folder / "data2" / "link").symlink_to("/nowhere")
    with (world.folder / "data2" / "big.bin").open("wb") as stream:
        stream.truncate(60_000_000)

    [finding] = [finding for _, finding in world.check("script.yaml", only="paths").findings]
    assert "60 MB" in finding.cause
    assert "big.bin" in finding.cause
    assert (finding.key, finding.blocks) == (key, False)


@pytest.mark.cases("C24")
def test_many_files_are_a_warning(world):
    """Thousands of small files are named as well."""
    world.write("program.py", "from data2.loader import load\n")
    (world.folder / "data2").mkdir()
    world.write("data2/loader.py", "")
    for number in range(5_000):
        (world.folder / "data2" / str(number)).touch()

    [(cause, blocks)] = findings(world, "paths")
    assert cause == "data2 has 5001 files, and each run gets a copy of all"
    assert not blocks


@pytest.mark.cases("C9")
@pytest.mark.parametrize(
    ("name", "source", "part"),
    [
        (
            "t.py",
            f"x = {'-' * 100_000}1\n".encode(),
            "t.py does not compile: line ?: an expression is nested too deeply",
        ),
        (
            "t.py",
            b"# caf\xe9\n",
            "t.py cannot be decoded by Python: line 1 has bytes that are not utf-8",
        ),
        ("t.ipynb", notebook(f"x = {'-' * 100_000}1"), "nested too deeply"),
    ],
    ids=["deep", "bytes", "notebook"],
)
def test_refused_without_container(tmp_path, name, source, part):
    """A local run without a container says the same before it starts, and no traceback."""
    (tmp_path / name).write_bytes(source)
    command = ["submit", name, "--gpus", "0", "--backend", "local", "--wait"]

    done = subprocess.run(
        [sys.executable, "-m", "hpcdl", *command],
        cwd=tmp_path, capture_output=True, text=True, timeout=180,
    )  # fmt: skip

    assert part in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr
    assert done.returncode == 2


@pytest.mark.cases("C11")
def test_two_files_with_same_name(world):
    """Two files that would have the same name in the run are a problem."""
    for folder in ("a", "b"):
        (world.folder / folder).mkdir()
        (world.folder / folder / "data.csv").write_text(folder)
    (world.folder / "job").mkdir()
    (world.folder / "job" / "program.py").write_text("import json\n")
    (world.folder / "job" / "job.yaml").write_text(
        "name: a\nscript: program.py\nfiles: [../a/data.csv, ../b/data.csv]\n"
    )

    [(cause, blocks)] = findings(world, "paths", "job/job.yaml")
    assert cause.endswith("b/data.csv would both be data.csv in the run") and blocks


@pytest.mark.cases("C8")
@pytest.mark.parametrize(
    ("written", "keys"),
    [
        (
            "args: [--data, $SCRATCH/x, --out=~/y, '${HOME}', $(date)]",
            ["args[1]", "args[2]", "args[3]", "args[4]"],
        ),
        ("env: {PATH: '$PATH:/x', A: ~/a}", ["env.PATH", "env.A"]),
        ("args: ['costs $5', 'a~b', 'a$', '$1', ab~]", []),
    ],
)
def test_shell_texts_are_doubted(world, written, keys):
    """No shell reads arguments and variables: the program would make a folder named $SCRATCH."""
    world.write("program.py", "import json\n")
    text = (world.folder / "script.yaml").read_text()
    (world.folder / "script.yaml").write_text(f"{text}\n{written}\n")

    found = findings(world, "paths")
    assert [cause.partition(" ")[0] for cause, _ in found] == keys
    assert not any(blocks for _, blocks in found)

    world.write("program.py", "import os, sys\nprint(os.path.expandvars(sys.argv[1]))\n")
    assert findings(world, "paths") == []


@pytest.mark.cases("C17")
def test_sys_path_modules_are_found(world):
    """Those below the script's folder come along; of others the remedy is named."""
    for folder in ("src", "job"):
        (world.folder / folder).mkdir()
    world.write("src/mine_x.py", "")
    world.write("program.py", "import sys\nsys.path.append('src')\nimport mine_x\n")
    assert findings(world, "script") == []

    world.write("job/program.py", "import sys\nsys.path.append('../src')\nimport mine_x\n")
    world.write("job/job.yaml", "name: a\nscript: program.py\n")
    [(_, finding)] = world.check("job/job.yaml", only="script").findings
    assert (
        finding.cause == "program.py imports mine_x, which the image does not have"
        and not finding.blocks
    )
    assert (
        f"it lies in {world.folder}/src, which is not copied into the run: pythonpath: [../src]"
        in finding.fix
    )

    world.write("job/job.yaml", "name: a\nscript: program.py\npythonpath: [../src]\n")
    assert findings(world, "script", "job/job.yaml") == []


@pytest.mark.cases("C17")
def test_script_inside_a_package(world):
    """``python -m pkg_x.train`` works on a laptop; a run starts the file."""
    (world.folder / "pkg_x").mkdir()
    world.write("pkg_x/model.py", "")
    world.write("pkg_x/train.py", "import pkg_x.model\n")
    world.write("job.yaml", "name: a\nscript: pkg_x/train.py\n")
    [(_, finding)] = world.check("job.yaml", only="script").findings
    assert "a line such as from pkg_x.train import main; main()" in finding.fix

    world.write("pkg_x/train.py", "from .model import build\n")
    [(_, finding)] = world.check("job.yaml", only="script").findings
    assert (
        finding.cause == "train.py, line 1: a script cannot import from .model" and finding.blocks
    )


@pytest.mark.cases("C24")
def test_dangling_module_link_is_found(world):
    """It lies beside the script, and is not there: no package has to be installed."""
    world.write("program.py", "import helper_x\n")
    (world.folder / "helper_x.py").symlink_to("/nowhere/helper.py")

    [(_, finding)] = world.check("script.yaml", only="script").findings
    assert finding.blocks
    assert "helper_x.py is a link to /nowhere/helper.py, which does not exist" in finding.fix
