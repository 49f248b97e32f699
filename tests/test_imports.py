"""What each command loads: a login node pays for every module, so each is on a list, and render opens few files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hpcdl

READS = {"click", "yaml"}  # job files, profiles, plans
READS_BASH = READS | {"tree_sitter", "tree_sitter_bash"}
RENDERS = READS | {"jinja2", "markupsafe"}
SUBMITS = RENDERS | {"submitit", "cloudpickle"}
MARENOSTRUM = ("--cluster", "marenostrum5", "--set", "cluster.account=nct00")
ALLOWED = {
    "--help": {"click"},
    "--version": {"click"},
    "jobs list": {"click"},
    "jobs copy mnist_cnn COPY": READS,
    "cluster list": READS,
    "cluster show generic": READS,
    "cluster show generic --raw": READS,
    "init --cluster local --yes": READS,
    "data list": READS,
    "data verify": READS,
    "data pack nowhere": READS
    | {"PIL", "google_crc32c", "__mp_main__"},  # the last is multiprocessing's
    "render mnist_script MARENOSTRUM": RENDERS,
    "render mnist_cnn MARENOSTRUM -o OUT/": RENDERS,
    "check mnist_script MARENOSTRUM --runs-dir RUNS --set container=./nowhere.sif": RENDERS
    | {"msgspec"},
    "adopt SCRIPT": READS_BASH,
    "submit mnist_cnn MARENOSTRUM --runs-dir RUNS --dry-run": SUBMITS,
    "sweep mnist_cnn MARENOSTRUM --over model.dropout=0..0.5 --trials 2 --metric accuracy --runs-dir RUNS --dry-run": SUBMITS
    | {"msgspec"},
    "predict RUN nowhere --here": READS | {"numpy"},
    "status --runs-dir RUNS": READS | {"msgspec"},  # once there is something to remember
    "status RUN": READS,
    "logs RUN": READS,
    "result RUN": READS,
    "result RUN --json": READS,
    "compare RUN RUN": READS,
    "report RUN -o PAGE": RENDERS | {"numpy"},  # scikit-learn where there are predictions
    "wait RUN": READS,
    "cancel RUN": READS,
    "clean RUN": READS,
    "cost RUN": READS,
    "image inspect nowhere.sif": READS,
    "env build mnist_script MARENOSTRUM --set container=./nowhere.sif": READS,
}
# Part of those packages, under names of their own
PARTS = {"_cython", "cython_runtime", "_yaml", "typing_extensions", "_cyutility"}

PROGRAM = """
import json, sys
before, opened = set(sys.modules), []
sys.addaudithook(lambda event, arguments: opened.append(arguments[0]) if event == "open" else None)
import hpcdl.cli
code = hpcdl.cli.main(sys.argv[2:])
from importlib.util import source_from_cache
files = {source_from_cache(path) if str(path).endswith(".pyc") else str(path) for path in opened}
every = set(sys.modules) - before
after = {name.partition(".")[0] for name in every} - set(sys.stdlib_module_names)
with open(sys.argv[1], "w") as stream:
    seen = {"code": code, "modules": sorted(after), "every": sorted(every), "opened": len(files)}
    json.dump(seen, stream)
"""


@pytest.fixture
def load(tmp_path):
    """Runs one command in a fresh interpreter: its exit code, the modules it loaded, the files it opened."""
    run = tmp_path / "runs" / "a" / "20260101-1200-aaaa"
    (run / "logs").mkdir(parents=True)
    (run / "logs" / "1.log").write_text("hello\n")
    for name, value in {
        "manifest.json": {},
        "submitted.json": {"backend": "slurm", "job_id": "7", "time": 0},
        "result.json": {"state": "done"},
    }.items():
        (run / name).write_text(json.dumps(value))
    ends = {"event": "end", "attempt": 1, "node": "n", "time": 2.0, "reason": "done"}
    (run / "attempts.jsonl").write_text(
        f"{json.dumps({**ends, 'event': 'start'})}\n{json.dumps(ends)}\n"
    )
    words = {
        "RUN": run,
        "RUNS": tmp_path / "runs",
        "COPY": tmp_path / "copy",
        "OUT/": f"{tmp_path}/out/",
    }
    words["PAGE"] = tmp_path / "page.html"
    words["SCRIPT"] = Path(__file__).with_name("batchscript") / "corpus" / "apptainer-exec.slurm"

    def start(command):
        argv = [
            str(words.get(word, word))
            for word in command.replace("MARENOSTRUM", " ".join(MARENOSTRUM)).split()
        ]
        seen = tmp_path / "seen.json"
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, seen, *argv], capture_output=True, text=True
        )
        assert seen.exists(), done.stderr
        return json.loads(seen.read_text())

    return start


@pytest.mark.parametrize(("command", "allowed"), ALLOWED.items(), ids=ALLOWED)
def test_modules_on_list(load, command, allowed):
    seen = load(command)

    assert seen["code"] == (2 if "nowhere" in command else 0)
    others = {name for name in seen["modules"] if not name.startswith(tuple(PARTS))}
    assert others - {"hpcdl"} <= allowed


def test_help_loads_no_command(load):
    own = {name for name in load("--help")["every"] if name.startswith("hpcdl.")}

    assert own == {"hpcdl.cli", "hpcdl.cli.program", "hpcdl.errors"}


def test_render_loads_nothing_of_runs(load):
    """What knows runs, notebooks, SLURM and the network is not for a batch script that is only printed."""
    every = set(load("render mnist_script MARENOSTRUM")["every"])

    others = {
        "hpcdl.run.handle",
        "hpcdl.run.state",
        "hpcdl.usercode.notebook",
        "hpcdl.submission.prepare",
        "hpcdl.submission.send",
        "hpcdl.launch",
    }
    assert not every & {
        *others,
        "hpcdl.scheduler",
        "hpcdl.report",
        "subprocess",
        "socket",
        "msgspec",
        "rich",
        "numpy",
    }


def test_submit_loads_nothing_of_the_attempt(load):
    """submitit pickles the call by its name: what runs it is loaded on the node."""
    every = set(load("submit mnist_script MARENOSTRUM --runs-dir RUNS --dry-run")["every"])

    assert not every & {"hpcdl.launch.attempt", "hpcdl.usercode.notebook", "rich", "numpy"}


def test_render_opens_few_files(load):
    assert load("render mnist_script MARENOSTRUM")["opened"] <= 205


def test_import_loads_nothing():
    program = (
        "import sys; before = set(sys.modules); import hpcdl; print(*set(sys.modules) - before)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["hpcdl"]


def test_import_does_nothing(tmp_path):
    """No command line, no file and no logging is touched by importing all of hpcdl's host side."""
    program = """
import logging, sys
from importlib import import_module
from pathlib import Path
import hpcdl
written = []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        written.append(arguments[0])
sys.addaudithook(watch)
package = Path(hpcdl.__file__).parent
for path in sorted(package.rglob("*.py")):
    parts = path.relative_to(package.parent).with_suffix("").parts
    if path.name != "__main__.py" and parts[1] not in ("trainer", "in_image", "_data"):
        import_module(".".join(parts).removesuffix(".__init__"))
print(written, logging.getLogger().handlers)
"""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}

    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "[] []\n", "")


@pytest.mark.parametrize("name", hpcdl.__all__)
def test_public_name_loads(name):
    assert getattr(hpcdl, name)


def test_public_api_is_the_trio():
    from hpcdl.planning import plan

    job, cluster = (
        hpcdl.load_job("mnist_script"),
        hpcdl.load_cluster("marenostrum5", ["cluster.account=nct00"]),
    )

    decided = hpcdl.plan(job, cluster)
    assert decided == plan(job, cluster)
    assert hpcdl.render(decided).startswith("#!/bin/bash")


def test_unknown_public_name():
    with pytest.raises(AttributeError, match="module 'hpcdl' has no attribute 'nothing'"):
        _ = hpcdl.nothing
