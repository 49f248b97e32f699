"""Why GPUs do little, case by case, and what a run's samples say together."""

from __future__ import annotations

import json
import time

import pytest

from hpcdl.run.device_samples import Devices, Gpu, Sample
from hpcdl.run.device_summary import summary_of
from hpcdl.run.evidence import read
from hpcdl.run.idle_gpus import Setting, why_idle
from hpcdl.run.paths import RunPaths
from hpcdl.run.sample_file import SampleFile
from hpcdl.run.state import status_of
from hpcdl.run.worker_paths import WorkerPaths

NOW = 1_764_300_000.0


def samples(use, count=40, end=NOW, attempt=1, **keys):
    """The samples of ten minutes until now."""
    made = []
    for number in range(count):
        moment = end - 15.0 * (count - 1 - number)
        made.append(Sample(attempt, moment, 15.0, use=use, gpu_memory_mb=[1.0] * len(use), **keys))
    return made


@pytest.mark.parametrize(
    ("use", "keys", "setting", "words"),
    [
        ([19.0], {"cpus": 1.0}, {}, "its GPU is 19 % busy: its batches may be too small"),
        ([20.0], {"cpus": 8.0}, {}, ""),
        ([7.0], {"cpus": 7.9}, {}, "its input is slow, its 8 CPUs are busy"),
        ([7.0], {"cpus": 0.9}, {"cpus": 1}, "its input is slow, its CPU is busy"),
        ([7.0], {"cpus": 2.0, "read_mb_s": 80.0}, {}, "its input is slow, it reads 80 MB/s"),
        ([0.0, 0.0], {"cpus": 0.1}, {}, "its GPUs are 0 % busy: its CPUs are idle, too"),
        ([0.0, 0.0], {"cpus": 0.1}, {"nodes": 2}, "it waits for another worker"),
        ([0.0, 0.0], {"cpus": 8.0}, {"phase": "compiling"}, "it is compiling"),
        ([5.0], {"cpus": 1.0}, {"phase": "training"}, "too small"),
        ([95.0, 0.0, 0.5, 0.0], {}, {}, "3 of its 4 GPUs do nothing: ask for 1 GPU"),
        ([60.0, 90.0, 0.0], {}, {}, "1 of its 3 GPUs do nothing: ask for 2 GPUs"),
        ([5.0, None], {}, {}, "its GPUs are 5 % busy"),
        ([None], {"cpus": 0.0}, {}, ""),
        ([], {"cpus": 0.0}, {}, ""),
    ],
)
def test_reason_of_idle_gpus(use, keys, setting, words):
    text = why_idle(samples(use, **keys), Setting(**{"cpus": 8, "now": NOW, **setting}))

    assert words in text
    assert bool(words) == bool(text)


def test_ten_minutes_must_be_known():
    setting = Setting(8, now=NOW)
    earlier = samples([0.0], end=NOW - 300, attempt=1)

    assert why_idle([], setting) == ""
    assert why_idle(samples([0.0], count=30), setting) == ""
    assert why_idle(samples([0.0], end=NOW - 300), setting) == "", "the last five are not known"
    assert why_idle([*earlier, *samples([0.0], count=20, attempt=2)], setting) == ""
    assert why_idle(samples([0.0]), setting) != ""


def test_status_shows_idle_gpus(tmp_path):
    paths = RunPaths(tmp_path)
    start = {"event": "start", "attempt": 1, "time": time.time() - 900}
    paths.attempts.write_text(json.dumps(start) + "\n")
    paths.submitted.write_text('{"backend": "slurm", "job_id": "7"}')
    file = SampleFile(paths.devices)
    for sample in samples([3.0], cpus=4.0, end=time.time()):
        file.add(Devices("n1", 4, 1, (Gpu("H100"),)), sample)

    running = status_of(read(paths))
    assert (running.state, running.phase) == ("running", None)
    assert running.note == "its GPU is 3 % busy: its input is slow, its 4 CPUs are busy"
    with paths.attempts.open("a") as stream:
        stream.write(json.dumps({**start, "event": "end", "reason": "time_limit"}) + "\n")
    assert "GPU" not in status_of(read(paths)).note


def test_slow_worker_is_named(tmp_path):
    """The others wait for it, and that is not the reason."""
    paths = RunPaths(tmp_path)
    start = {"event": "start", "attempt": 1, "time": time.time() - 900}
    paths.attempts.write_text(json.dumps(start) + "\n")
    paths.submitted.write_text('{"backend": "slurm", "job_id": "7"}')
    (tmp_path / "workers/1").mkdir(parents=True)
    for rank, cpus in ((0, 0.1), (1, 4.0)):
        file = SampleFile(WorkerPaths(tmp_path, rank).devices)
        for sample in samples([3.0], cpus=cpus, end=time.time()):
            file.add(Devices(f"n{rank + 1}", 4, 2, (Gpu("H100"),)), sample)

    note = status_of(read(paths)).note

    assert note == "on n2, its GPU is 3 % busy: its input is slow, its 4 CPUs are busy"


def test_summary_of_samples():
    one = Sample(
        1, 100.0, 1800.0, 2.0, 2048.0, 10.0, [50.0, 100.0], [1024.0, 4096.0], [300.0, None]
    )
    two = Sample(
        1, 200.0, 1800.0, 4.0, 1024.0, None, [0.0], [512.0], [100.0], {"heat": [900.0]}, [2]
    )

    summary = summary_of([one, two])

    assert summary.gpu_use_percent == 50
    assert summary.use_by_gpu == [25, 100]
    assert summary.idle_gpu_hours == 0.75
    assert (summary.gpu_memory_gb, summary.memory_gb, summary.gpu_power_w) == (4, 2, 200)
    assert (summary.cpus_busy, summary.read_mb_s) == (3, 10)
    assert summary.held_back == {"heat": pytest.approx(1 / 6)}
    assert summary.memory_errors == [2, 0]
    assert summary_of([]).as_timing() == {"sampled_s": 0}
