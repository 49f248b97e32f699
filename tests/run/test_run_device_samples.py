"""devices.jsonl: a file that stays small however long a run is, and what damaged lines give."""

from __future__ import annotations

import json

import pytest

from hpcdl.run import sample_file
from hpcdl.run.device_samples import Devices, Gpu, Sample, merged, newest_samples, read_devices
from hpcdl.run.sample_file import SampleFile, thinned

EIGHT = Devices("n1", 80, 1, tuple(Gpu("NVIDIA H100", 81559, 700) for _ in range(8)))


def sample(number, gpus=8, **keys):
    """The sample of 15 seconds with this number, from 0."""
    return Sample(
        attempt=1,
        time=1.764e9 + 15.0 * (number + 1),
        seconds=15.0,
        cpus=3.25 + number % 3,
        memory_mb=40123.25 + number,
        read_mb_s=12.5,
        use=[float((number + gpu) % 101) for gpu in range(gpus)],
        gpu_memory_mb=[70213.0] * gpus,
        power_w=[412.3] * gpus,
        **keys,
    )


def test_old_samples_lose_resolution_evenly(monkeypatch):
    """Half a day in 16 KB, as a week is in the whole file."""
    monkeypatch.setattr(sample_file, "_NEWEST", 10)
    half_a_day = [sample(number, gpus=2) for number in range(12 * 240)]
    samples = []
    for start in range(0, len(half_a_day), 480):
        samples += half_a_day[start : start + 480]
        samples = thinned(samples, 16_000)

    assert 20 < len(samples) < 200
    assert samples[-10:] == half_a_day[-10:]
    assert max(each.seconds for each in samples) <= 16 * 60
    assert sum(each.seconds for each in samples) == 12 * 3600
    means = [sum(each.use[0] * each.seconds for each in some) for some in (samples, half_a_day)]
    assert means[0] == pytest.approx(means[1])


def test_file_never_exceeds_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_file, "LIMIT_BYTES", 16_000)
    monkeypatch.setattr(sample_file, "_NEWEST", 10)
    path = tmp_path / "devices.jsonl"
    file = SampleFile(path)
    sizes = []
    for number in range(400):
        file.add(EIGHT, sample(number))
        sizes.append(path.stat().st_size)

    devices, samples = read_devices(path)
    assert max(sizes) <= 16_000
    assert devices == EIGHT
    assert sum(each.seconds for each in samples) == 6000
    assert [entry.name for entry in tmp_path.iterdir()] == ["devices.jsonl"]


def test_next_attempt_adds_to_the_file(tmp_path):
    path = tmp_path / "devices.jsonl"
    SampleFile(path).add(EIGHT, sample(0))
    SampleFile(path).add(EIGHT, sample(1))
    other = Devices("n2", 80, 1, EIGHT.gpus)
    SampleFile(path).add(other, sample(2))

    devices, samples = read_devices(path)
    assert devices == other
    assert samples == [sample(number) for number in range(3)]
    assert len(path.read_text().splitlines()) == 5


def test_merged_samples_have_means():
    first = sample(0, 2, held_back={"heat": [15.0, 0.0]}, memory_errors=[0, 3])
    second = Sample(2, first.time + 5, 5.0, cpus=7.25, memory_mb=1.0, use=[40.0, None, 60.0])

    both = merged([first, second])

    assert (both.attempt, both.seconds, both.time) == (2, 20, second.time)
    assert (both.cpus, both.memory_mb, both.read_mb_s) == (4.25, 40123.25, 12.5)
    assert both.use == [10, 1, 60]
    assert both.power_w == [412.3, 412.3]
    assert both.held_back == {"heat": [15, 0]}
    assert both.memory_errors == [0, 3]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"attempt": 1, "time": 1, "seconds": -1}',
        '{"attempt": "x", "time": 1, "seconds": 1}',
        '{"node": 3}',
        "\udcff",
    ],
)
def test_damaged_lines_are_left_out(tmp_path, line):
    path = tmp_path / "devices.jsonl"
    SampleFile(path).add(EIGHT, sample(0))
    with path.open("a", errors="surrogateescape") as stream:
        stream.write(line + "\n")
    SampleFile(path).add(EIGHT, sample(1))

    assert read_devices(path) == (EIGHT, [sample(0), sample(1)])


def test_end_of_a_long_file_is_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_file, "append_json_line", append_without_sync)
    path = tmp_path / "devices.jsonl"
    file = SampleFile(path)
    for number in range(500):
        file.add(EIGHT, sample(number))

    devices, samples = newest_samples(path)
    assert devices == EIGHT
    assert 60 < len(samples) < 400
    assert samples[-1] == sample(499)
    assert newest_samples(tmp_path / "missing") == (Devices(), [])


def append_without_sync(path, value):
    with path.open("a") as stream:
        stream.write(json.dumps(value) + "\n")
