"""Samples of a real program's CPUs, memory and reading, and of GPUs that a stand-in tells of."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from hpcdl.cluster import Cluster, Image, Node
from hpcdl.job import Job
from hpcdl.launch.gpu_reader import GpuReader
from hpcdl.launch.process_use import use_of_tree
from hpcdl.launch.sampler import Sampled, Sampler, sampler_of
from hpcdl.planning import plan
from hpcdl.run.device_samples import read_devices
from hpcdl.run.paths import RunPaths
from hpcdl.run.sample_file import SampleFile
from tests.launch.conftest import Machine, until

# A child of a child that computes, holds 64 MiB and reads 32 MiB
PROGRAM = """
import os, subprocess, sys
work = "held = bytearray(64 << 20); open('/dev/zero', 'rb').read(32 << 20); print(flush=True)\\nwhile True: pass"
subprocess.run([sys.executable, "-c", work])
"""
SMI = """#!/bin/sh
while :; do
echo '0, GPU-a, NVIDIA H100, 90, 4000, 80000, 400, 700, 0, 0x4'
echo '1, GPU-b, NVIDIA H100, 10, 2000, 80000, [N/A], 700, 3, 0x0'
sleep 0.1
done
"""


def used_by(pid):
    use = use_of_tree(pid)
    assert use is not None
    return use


def samples_in(path):
    return read_devices(path)


@pytest.fixture
def program():
    """A process that started another one, which keeps a CPU busy."""
    argv = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
        os.killpg(process.pid, 9)


def test_whole_tree_is_measured(program):
    before, start = used_by(program.pid), time.monotonic()
    until(lambda: used_by(program.pid).cpu_s - before.cpu_s >= 0.1)

    used = used_by(program.pid).cpu_s - before.cpu_s
    assert used <= (time.monotonic() - start) * 1.1 + 0.05
    assert before.memory_b > 64 << 20
    assert before.read_b > 32 << 20


def test_ended_program_gives_nothing():
    with subprocess.Popen(["true"]) as process:
        process.wait()

    assert use_of_tree(process.pid) is None


def test_sample_every_fifteen_seconds(tmp_path, program):
    path = tmp_path / "devices.jsonl"
    sampler = Sampler(SampleFile(path), Sampled(2, "n1"), None)

    for second in range(40):
        sampler.look(1000.0 + second, program.pid)

    devices, samples = samples_in(path)
    assert (devices.node, devices.gpus, devices.problem) == ("n1", (), "")
    assert [sample.time for sample in samples] == [1015, 1030]
    assert [sample.seconds for sample in samples] == [15, 15]
    assert samples[0].attempt == 2
    assert samples[0].memory_mb > 64
    assert samples[0].use == ()


def test_suspended_job_gives_no_sample(tmp_path, program):
    sampler = Sampler(SampleFile(tmp_path / "devices.jsonl"), Sampled(1, "n1"), None)

    sampler.look(1000.0, program.pid)
    sampler.look(9000.0, program.pid)
    sampler.look(500.0, program.pid)
    assert not (tmp_path / "devices.jsonl").exists()


def test_full_disk_stops_nothing(tmp_path, program):
    sampler = Sampler(SampleFile(tmp_path / "gone" / "devices.jsonl"), Sampled(1, "n1"), None)

    for second in range(40):
        sampler.look(1000.0 + second, program.pid)
    assert list(tmp_path.iterdir()) == []


def test_gpus_are_sampled(tmp_path, monkeypatch, program):
    (tmp_path / "nvidia-smi").write_text(SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("HPCDL_SAMPLE_S", "0.5")
    path = tmp_path / "devices.jsonl"
    sampler = Sampler(SampleFile(path), Sampled(1, "n1"), GpuReader("nvidia", 2.0))

    def two_with_gpus():
        sampler.look(time.time(), program.pid)
        return [sample for sample in read_devices(path)[1] if sample.use][1:2]

    (sample,) = until(two_with_gpus)
    sampler.close()
    devices, _ = read_devices(path)
    assert [gpu.memory_mb for gpu in devices.gpus] == [80000, 80000]
    assert (sample.use, sample.gpu_memory_mb) == ([90, 10], [4000, 2000])
    assert (sample.power_w, sample.memory_errors) == ([400, None], [0, 3])
    assert sample.held_back == {"its power limit": [pytest.approx(sample.seconds, abs=0.1), 0]}


def test_run_on_this_machine_is_sampled(machine, monkeypatch):
    monkeypatch.setattr(Machine, "environment", {**machine.environment, "HPCDL_SAMPLE_S": "0.2"})
    work = "import time; end = time.time() + 2.5\nwhile time.time() < end: pass"

    run = machine.submit(work, "--wait")

    devices, samples = samples_in(run.path / "devices.jsonl")
    assert (devices.gpus, samples[0].use) == ((), ())
    assert devices.cpus > 0
    timing = run.json("result.json")["timing"]
    assert 0 < timing["cpus_busy"] < 2
    assert timing["memory_gb"] > 0
    assert "gpu_use_percent" not in timing
    assert "  used       " in machine.hpcdl("result", run.path).stdout


def test_short_run_has_no_samples(machine):
    run = machine.submit("print(1)", "--wait")

    assert not (run.path / "devices.jsonl").exists()
    assert "cpus_busy" not in run.json("result.json")["timing"]


@pytest.mark.parametrize(("vendor", "tool"), [("nvidia", "nvidia-smi"), ("amd", "rocm-smi")])
def test_tool_is_that_of_the_vendor(tmp_path, monkeypatch, vendor, tool):
    monkeypatch.setenv("PATH", str(tmp_path))
    site = Cluster(
        name="site",
        node=Node(cpus=8, gpus=4),
        gpu_vendor=vendor,
        images={"tensorflow": Image("/tf.sif")},
    )
    decided = plan(Job(name="a", script="a.py", source="a", folder="/"), site)

    sampler = sampler_of(RunPaths(tmp_path), decided, 1, "n1")
    sampler.look(1000.0, os.getpid())
    sampler.look(1015.0, os.getpid())

    assert tool in samples_in(tmp_path / "devices.jsonl")[0].problem
