"""What launch finds out about its node before the container starts: files, CPUs, GPUs; and what becomes of the run."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from dataclasses import replace

import pytest

from hpcdl.cluster import Cluster, Image, Node
from hpcdl.cluster.gpu_vendors import AMD, NVIDIA, VENDORS
from hpcdl.job import Job, Resources
from hpcdl.launch import node_checks
from hpcdl.launch.command import places_of
from hpcdl.planning import Plan, Script, plan
from hpcdl.run.causes import Outcome
from hpcdl.run.next_step import next_step
from hpcdl.run.paths import RunPaths
from hpcdl.run.records import AttemptEvent

SITE = Cluster(name="site", node=Node(cpus=80, gpus=4))
HEAD = bytes(32) + b"SIF_MAGIC\0" + bytes(70) + struct.pack("<qq", 128, 72)  # its data end at 200


@pytest.fixture
def place(tmp_path):
    """A run with its image, data set and folders: its paths and its plan."""
    for name in ("bind", "scratch", "work", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "image.sif").write_bytes(HEAD.ljust(200, b"x"))
    (tmp_path / "data.npz").write_bytes(b"x")
    (tmp_path / "run.json").write_text(json.dumps({"data": {"path": str(tmp_path / "data.npz")}}))
    (tmp_path / "manifest.json").write_text(json.dumps({"image": {"bytes": 200}}))
    site = replace(
        SITE, images={"tensorflow": Image(f"{tmp_path}/image.sif")}, data_root=f"{tmp_path}/data"
    )
    job = Job(
        name="a", script=None, source="a.yaml", folder=str(tmp_path), resources=Resources(gpus=0)
    )
    decided = plan(job, site)
    container = replace(decided.require_container(), binds=[f"{tmp_path}/bind:/b:ro"])
    program = Script("a.py", workdir=f"{tmp_path}/work")
    return RunPaths(tmp_path), replace(
        decided, container=container, scratch=f"{tmp_path}/scratch", program=program
    )


def texts(place, in_slurm=False):
    paths, decided = place
    return [
        f"{fault.cause}: {fault.text}" for fault in node_checks.faults(paths, decided, in_slurm)
    ]


def with_gpus(decided: Plan, gpus: int, emulated: bool = False, gpus_granted: bool = True) -> Plan:
    size = replace(decided.size, gpus=gpus, emulate_gpus=emulated, gpus_granted=gpus_granted)
    container = replace(decided.require_container(), nv=gpus > 0 and not emulated)
    return replace(decided, size=size, container=container)


def set_driver(monkeypatch, path, vendor=NVIDIA):
    monkeypatch.setitem(VENDORS, vendor.name, replace(vendor, driver=str(path)))


def test_good_node_has_no_faults(place):
    assert texts(place, in_slurm=True) == []
    (place[0].root / "data").rmdir()  # not every job needs data_root
    (place[0].root / "bind").rmdir()  # nor a bind where there is no container
    assert texts((place[0], replace(place[1], container=None))) == []


def test_node_check_reports_everything_missing(place):
    """Image, binds, scratch, working directory and data set are reported together."""
    root = place[0].root
    for name in ("bind", "scratch", "work"):
        (root / name).rmdir()
    for name in ("image.sif", "data.npz"):
        (root / name).unlink()
    there = "No such file or directory"
    assert texts(place) == [
        f"spec: the image {root}/image.sif: {there}",
        f"spec: {root}/bind, which the container is to see: {there}",
        f"spec: {root}/work, the working directory: {there}",
        f"spec: {root}/scratch, the node's scratch folder: {there}",
        f"data: the data set {root}/data.npz: {there}",
    ]


@pytest.mark.parametrize(
    ("content", "text", "elsewhere"),
    [
        (HEAD.ljust(199, b"x"), "is cut short: it has 199 bytes, and its header says 200", True),
        (bytes(200), "is not a SIF file", True),
        (b"", "is not a SIF file", True),
        (
            HEAD.ljust(201, b"x"),
            "is another file: it has 201 bytes, and had 200 at submission",
            False,
        ),
    ],
    ids=["short", "zeros", "empty", "other"],
)
def test_node_check_finds_changed_image(place, content, text, elsewhere):
    """A short or damaged image may be right on another node; a replaced one is not."""
    (place[0].root / "image.sif").write_bytes(content)
    (fault,) = node_checks.faults(place[0], place[1], in_slurm=False)
    assert text in fault.text
    assert fault.elsewhere is elsewhere


def test_node_check_reports_hanging_file(place, monkeypatch):
    """A pipe that nobody writes to: who opens it waits for ever, as on a dead mount."""
    root = place[0].root
    monkeypatch.setenv("HPCDL_LOOK_S", "1")
    (root / "data.npz").unlink()
    os.mkfifo(root / "data.npz")
    (root / "bind").rmdir()
    assert texts(place) == [
        f"spec: {root}/bind, which the container is to see: No such file or directory",
        f"data: the data set {root}/data.npz: no answer for 1 s; its file system hangs",
    ]


@pytest.mark.parametrize(
    ("usable", "machine", "asked", "fault"),
    [
        (20, 80, 20, False),
        (1, 80, 20, True),
        (40, 80, 20, False),
        (2, 2, 80, False),
        (1, 2, 80, True),
    ],
    ids=["as asked", "one", "threads", "test bed", "one of test bed"],
)
def test_node_check_counts_cpus(place, monkeypatch, usable, machine, asked, fault):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(machine if pid == 1 else usable))
    paths, decided = place
    expected = [
        f"device: the job may use {usable} of its CPUs (its affinity), and asks for {asked}"
    ] * fault
    decided = replace(decided, size=replace(decided.size, cpus=asked))
    assert texts((paths, decided), in_slurm=True) == expected
    assert texts((paths, decided)) == [], "a user's own machine has what it has"


@pytest.mark.parametrize(
    ("visible", "gpus", "emulated", "driver", "found"),
    [
        ("0,1", 2, False, True, []),
        ("0", 0, False, False, []),
        ("GPU-ab,GPU-cd", 2, False, True, []),
        (None, 2, True, False, []),
        ("0,1", 2, True, False, []),
        (
            "0",
            2,
            True,
            False,
            [("1 GPU(s) are visible (CUDA_VISIBLE_DEVICES is '0'), and the job asks for 2", True)],
        ),
        (
            "0,1",
            1,
            False,
            True,
            [("2 GPU(s) are visible (CUDA_VISIBLE_DEVICES is '0,1'), and the job asks", False)],
        ),
        ("0", 1, False, False, [("it has no NVIDIA driver (", True)]),
    ],
)
def test_node_check_counts_gpus(
    place, monkeypatch, tmp_path, visible, gpus, emulated, driver, found
):
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    set_driver(monkeypatch, tmp_path if driver else tmp_path / "none")
    decided = with_gpus(place[1], gpus, emulated)
    faults = node_checks.faults(place[0], decided, in_slurm=True)
    assert [(fault.cause, fault.elsewhere) for fault in faults] == [
        ("device", elsewhere) for _, elsewhere in found
    ]
    assert all(fault.text.startswith(text) for fault, (text, _) in zip(faults, found, strict=True))


@pytest.mark.parametrize(
    ("shown", "ids", "driver", "fault"),
    [
        ("0,1", [], True, ""),
        ("4", [], True, "1 GPU(s) are visible (ROCR_VISIBLE_DEVICES is '4'), and the job"),
        ("0,1", [], False, "it has no AMD driver ("),
        (None, ["0", "0", "51110", "7410"], True, ""),
        (None, ["0", "51110"], True, "1 GPU(s) are visible (ROCR_VISIBLE_DEVICES is not set)"),
    ],
)
def test_node_check_counts_amd_gpus(place, monkeypatch, tmp_path, shown, ids, driver, fault):
    """CUDA_VISIBLE_DEVICES says nothing there: SLURM may set both."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4")
    if shown is not None:
        monkeypatch.setenv("ROCR_VISIBLE_DEVICES", shown)
    for number, gpu_id in enumerate(ids):
        node = tmp_path / "nodes" / str(number)
        node.mkdir(parents=True)
        (node / "gpu_id").write_text(f"{gpu_id}\n")
    monkeypatch.setattr("hpcdl.local_machine._AMD_NODES", tmp_path / "nodes")
    set_driver(monkeypatch, tmp_path if driver else tmp_path / "none", AMD)
    decided = with_gpus(place[1], 2)
    container = replace(decided.require_container(), gpu_vendor="amd")

    faults = texts((place[0], replace(decided, container=container)), in_slurm=True)

    assert len(faults) == bool(fault)
    assert fault in "".join(faults)


@pytest.mark.cases("C27", "C15")
@pytest.mark.parametrize("whole_node", ["not counted", "exclusive"])
@pytest.mark.parametrize(
    ("visible", "gpus", "fault", "used"),
    [
        ("0,1,2,3", 2, None, "0,1"),
        ("4,5", 2, None, "4,5"),
        ("0", 2, "1 GPU(s) are visible", "0"),
        (None, 1, None, "0"),
    ],
)
def test_node_check_takes_first_gpus(
    place, monkeypatch, tmp_path, whole_node, visible, gpus, fault, used
):
    """More GPUs than asked for are no fault there, and the program sees those that it asked for."""
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr("hpcdl.local_machine.visible_gpus", lambda vendor: 4)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    set_driver(monkeypatch, tmp_path)
    decided = with_gpus(place[1], gpus, gpus_granted=whole_node != "not counted")
    if whole_node == "exclusive":
        decided = replace(decided, directives=[("exclusive", "")])

    faults = node_checks.faults(place[0], decided, in_slurm=True)
    assert [found.text[:20] for found in faults] == ([fault] if fault else [])
    assert places_of(place[0], decided).visible_devices == used


def ends(*reasons, steps=None):
    events = []
    for number, reason in enumerate(reasons, 1):
        events.append(AttemptEvent("end", reason=reason, node=f"n{number}", steps=steps))
    return events


def test_another_node_is_tried_once():
    unfit = Outcome("unfit_node", "data", "n2 is not fit")
    assert next_step(unfit, ends("unfit_node"), 10) is unfit
    assert next_step(unfit, ends("unfit_node", "preempted", "unfit_node"), 10) is unfit
    assert next_step(unfit, ends("unfit_node"), 0, jobs_left=1) is unfit
    over = next_step(unfit, ends("unfit_node", "unfit_node"), 10)
    assert (over.state, over.cause) == ("failed", "data")
    assert over.message == "n2 is not fit; two attempts in a row found their node not fit (n1, n2)"
    assert next_step(unfit, ends("killed", "unfit_node", steps=0), 10).state == "failed", (
        "no new step twice"
    )
    assert next_step(unfit, ends("unfit_node"), 0).state == "failed", "where nothing is requeued"


@pytest.mark.tensorflow
def test_hanging_data_set_ends_local_run(machine):
    """The run fails with the file's name and can be resumed when the file answers."""
    fifo = machine.folder / "data.npz"
    os.mkfifo(fifo)
    options = [
        "--set",
        f"data={{path: {fifo}}}",
        "--set",
        f"cluster.data_root={machine.folder}",
        "--wait",
    ]
    done = subprocess.run(
        machine.argv("submit", "digits_cnn", "--backend", "local", "--runs-dir", "runs", *options),
        cwd=machine.folder,
        env={**machine.environment, "HPCDL_LOOK_S": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    (run,) = machine.runs()
    result = run.json("result.json")
    fault = f"the data set {fifo}: no answer for 1 s; its file system hangs"

    assert done.returncode == 1
    assert (result["state"], result["cause"], result["attempts"][0]["status"]) == (
        "failed",
        "data",
        65,
    )
    assert (
        f"failed: data. {result['attempts'][0]['node']} is not fit for this job: {fault}"
        in done.stderr
    )
    assert f"try  when that is put right, hpcdl resume {run.path} goes on" in done.stderr
    assert (
        machine.hpcdl("logs", run.path).stdout
        == f"error: {result['attempts'][0]['node']}: {fault}\n"
    )

    fifo.unlink()
    fifo.write_bytes(b"x")
    machine.hpcdl("resume", run.path, "--wait")
    assert "not fit" not in run.json("result.json")["message"]
