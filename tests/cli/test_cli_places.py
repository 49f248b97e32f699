"""Commands where a disk beside the point is full, over its quota, read-only or absent: a table.

Each command says in one sentence what is wrong with the place that it must write to, and does not
care about the others. The disks are real: small ones of their own, which only root can mount.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from small_disk import SmallDisk, can_mount

from hpcdl.preflight import hostpython
from tests.preflight.conftest import World

pytestmark = pytest.mark.cases("F7", "F8")

PLACES = {
    "home": ("full", "quota", "inodes", "read-only", "absent"),
    "cache": ("full", "read-only", "absent"),
    "runs": ("full", "quota", "inodes", "read-only", "absent"),
    "tmp": ("full", "read-only", "absent"),
}

WRITTEN = ("full runs", "quota runs", "read-only runs")

# Each command, and the place that it cannot do without: there it fails, with one sentence.
COMMANDS = {
    "status": "",
    "status DONE": "",
    "logs DONE": "",
    "result DONE": "",
    "wait DONE": "",
    "report DONE": "",  # beside the run folder, if that takes nothing
    "report DONE -o PAGE": "",
    "compare DONE DONE": "",
    "cancel QUEUED": "",
    "clean": "",
    "jobs list": "",
    "jobs copy mnist_cnn COPY": "",
    "cluster list": "",
    "cluster show SITE": "",
    "data list -c SITE": "",
    "data verify -c SITE": "",
    "data stage mine --from OTHER --data-root STAGED": "",
    "render model.yaml -c SITE": "",
    "render model.yaml -c SITE -o OUT/": "",
    "check model.yaml -c SITE": "runs",
    "check script.yaml -c SITE": "runs",
    "submit script.yaml -c SITE": "runs",
    "submit script.yaml -c SITE --no-check": "runs",
    "init -c SITE --yes --force": "home",
}
# These are told to write at that very place.
WRITES = [
    "jobs copy mnist_cnn PLACE/copy",
    "report DONE -o PLACE/page.html",
    "compare DONE --html PLACE/page.html",
    "render script.yaml -c SITE -o PLACE/job.sbatch",
    "render model.yaml -c SITE -o PLACE/out/",
    "data stage mine --from OTHER --data-root PLACE/data",
    "data pack SIGNS --to PLACE/packed --workers 1",
    "cluster discover -o PLACE/site.yaml",
    "submit script.yaml -c SITE --no-check --runs-dir PLACE/runs",
]


@dataclass
class Ill:
    """A site on which one place is ill."""

    world: World
    place: str
    ailment: str
    path: Path
    words: dict[str, Path]

    def argv(self, command: str) -> list[str]:
        words = []
        for word in command.split():
            name, slash, rest = word.partition("/")
            given = self.words.get(name)
            words.append(word if given is None else f"{given}{slash}{rest}")
        return words


def make_runs(runs: Path) -> dict[str, Path]:
    """A run that is done, and one that waits in the queue."""
    folders = {}
    for name, run_id in {"DONE": "20260101-1200-aaaa", "QUEUED": "20260101-1200-bbbb"}.items():
        folders[name] = runs / "a" / run_id
        (folders[name] / "logs").mkdir(parents=True)
        for file, value in {
            "manifest.json": {},
            "submitted.json": {"backend": "slurm", "job_id": "7", "time": 0},
        }.items():
            (folders[name] / file).write_text(json.dumps(value))
    (folders["DONE"] / "logs/1.log").write_text("hello\n")
    (folders["DONE"] / "result.json").write_text(json.dumps({"state": "done"}))
    ends = {"event": "end", "attempt": 1, "node": "n", "time": 2.0, "reason": "done"}
    lines = [json.dumps({**ends, "event": "start"}), json.dumps(ends), ""]
    (folders["DONE"] / "attempts.jsonl").write_text("\n".join(lines))
    return folders


def pictures(folder: Path) -> Path:
    """A folder of images of two classes."""
    pytest.importorskip("PIL")
    from PIL import Image

    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (32, 32), (number, 9, 200)).save(folder / name / f"{number}.png")
    return folder


def needs_disk(ailment: str) -> bool:
    return ailment != "absent" and not (ailment == "read-only" and os.geteuid() != 0)


def spoil(path: Path, ailment: str) -> SmallDisk | None:
    """Make a place ill; what is in it stays readable."""
    if ailment == "absent":
        shutil.rmtree(path)
        return None
    if not needs_disk(ailment):
        for folder in (path, *(inner for inner in path.rglob("*") if inner.is_dir())):
            folder.chmod(0o555)
        return None
    kept = path.with_name(f"{path.name}.kept")
    path.rename(kept)
    disk = SmallDisk(path, quota=ailment == "quota")
    shutil.copytree(kept, disk.root, dirs_exist_ok=True)
    if ailment == "read-only":
        disk.make_read_only()
    elif ailment == "inodes":
        disk.take_inodes()
    else:
        disk.fill()
    return disk


@pytest.fixture(scope="module", params=[f"{a} {p}" for p, some in PLACES.items() for a in some])
def ill(request, tmp_path_factory) -> Iterator[Ill]:
    ailment, place = request.param.split()
    folder = tmp_path_factory.mktemp("site")
    if needs_disk(ailment) and not can_mount(folder / "try", quota=ailment == "quota"):
        pytest.skip("no disk of its own can be mounted here: that needs root, or mkfs.btrfs")
    world = World(folder)
    world.command(
        "sbatch", "#!/bin/sh\ncat >/dev/null\ncase $* in *test-only*) ;; *) echo 8;; esac"
    )
    world.command("squeue", "#!/bin/sh\necho '7|PENDING|Priority||N/A'")
    world.command("scancel", f"#!/bin/sh\necho $* >>{folder}/ended")
    signs = pictures(folder / "signs")
    np.savez(folder / "other.npz", **dict(np.load(folder / "data" / "tiny.npz")))
    paths = {name: folder / name for name in PLACES}
    for path in paths.values():
        path.mkdir()
    words = make_runs(paths["runs"])
    words.update(
        SITE=folder / "site.yaml", OTHER=folder / "other.npz", SIGNS=signs, PLACE=paths[place]
    )
    for name in ("PAGE", "COPY", "STAGED", "OUT"):
        words[name] = folder / "good" / name
    (folder / "good").mkdir()
    disk = spoil(paths[place], ailment)
    path = paths[place]
    if disk is not None and disk.root != path:  # of a quota
        words = {
            name: Path(str(word).replace(f"{path}", f"{disk.root}")) for name, word in words.items()
        }
        path = disk.root
    yield Ill(world, place, ailment, path, words)
    if disk is not None:
        disk.remove()
    elif ailment == "read-only":
        for folder in (path, *(inner for inner in path.rglob("*") if inner.is_dir())):
            folder.chmod(0o755)


@pytest.fixture
def run_there(ill, cli, monkeypatch):
    """Runs a command of the table there, in a good working directory."""
    folder = ill.world.folder
    places = {name: folder / name for name in PLACES} | {ill.place: ill.path}
    monkeypatch.setenv("PATH", f"{ill.world.bin}:/usr/bin:/bin")
    monkeypatch.setattr(hostpython, "NODE_LOCAL", ("/local",))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("HOME", str(places["home"]))
    monkeypatch.setenv("TMPDIR", str(places["tmp"]))
    monkeypatch.chdir(folder)
    if ill.place == "cache":
        monkeypatch.setenv("XDG_CACHE_HOME", str(places["cache"]))
    if ill.place != "home":  # a cache that works would hide the first look at everything
        shutil.rmtree(places["home"] / ".cache", ignore_errors=True)
    runs = f"cluster.runs_root={places['runs']}"

    def run(command: str):
        argv = ill.argv(command)
        if argv[0] in ("check", "submit"):
            argv += ["--set", runs]
        if argv in (["status"], ["clean"]):
            argv += ["--runs-dir", str(places["runs"])]
        answer = cli(*argv)
        assert "Traceback" not in answer.err
        assert "(None)" not in answer.err
        assert answer.err.count("going on without it") <= 1
        return answer

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_command_next_to_bad_place(ill, run_there, command):
    """A command works as usual when the broken folder is one that it does not use."""
    if ill.ailment == "absent" and ill.place == "runs" and re.search("DONE|QUEUED", command):
        pytest.skip("there is no run to look at")
    answer = run_there(command)

    if COMMANDS[command] != ill.place or ill.ailment == "absent":
        assert answer.code == 0, answer.err
    elif command.startswith("check"):  # a quota is not to be seen
        assert answer.code == (0 if ill.ailment == "quota" else 2)
        assert answer.code == 0 or str(ill.path) in answer.out
    else:
        assert_sentence(answer, ill.path)


@pytest.mark.parametrize("command", WRITES)
@pytest.mark.parametrize("ill", WRITTEN, indirect=True)
def test_command_writes_to_bad_place(ill, run_there, command):
    """A command that has to write into a broken folder ends with one clear sentence."""
    if ill.ailment == "inodes" and command.startswith("render script"):
        pytest.skip("one file may still find room")
    assert_sentence(run_there(command), ill.path)


REASONS = "No space|Disk quota|Permission denied|[Rr]ead-only|MB free|MB are free|more files|cannot write in"


def assert_sentence(answer, path):
    """One sentence names the very place and why it takes nothing; nothing else is said but progress."""
    assert answer.code in (1, 2)
    assert answer.out == ""
    *_, last = [line for line in answer.err.splitlines() if line.startswith(("hpcdl:", " ✗"))]
    assert str(path) in last
    assert re.search(REASONS, last)
