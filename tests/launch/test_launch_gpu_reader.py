"""Reading GPUs with stand-ins for nvidia-smi, amd-smi and rocm-smi: no machine of the tests has a GPU."""

from __future__ import annotations

import json
import os
import time

import pytest

from hpcdl.launch.gpu_answers import (
    MEMORY_ERRORS,
    NVIDIA_FIELDS,
    REASON_FIELDS,
    amd_readings,
    chosen,
    nvidia_reading,
    rocm_readings,
)
from hpcdl.launch.gpu_reader import GpuReader
from tests.launch.conftest import until

FIELDS = (*NVIDIA_FIELDS, MEMORY_ERRORS, REASON_FIELDS[0])
LINE = "0, GPU-1, NVIDIA H100 80GB HBM3, 97, 70213, 81559, 412.31, 700.00, 0, 0x0000000000000004"
MIG = "1, GPU-2, NVIDIA A100, [N/A], 12, 40960, [Unknown Error], [Not Supported], [N/A], 0x1"
OLD_DRIVER = (
    'case "$*" in *clocks_event_reasons*) '
    "echo 'Field \"clocks_event_reasons.active\" is not a valid field to query.'; exit 2;; esac\n"
)
ROCM = {
    "card0": {
        "GPU use (%)": "61",
        "VRAM Total Memory (B)": "68702699520",
        "VRAM Total Used Memory (B)": "1073741824",
        "Average Graphics Package Power (W)": "301.0",
        "Max Graphics Package Power (W)": "560.0",
        "Card Series": "AMD Instinct MI250X",
    },
    "card1": {"GPU use (%)": "0", "Average Graphics Package Power (W)": "N/A"},
    "system": {"Driver version": "6.3.6"},
}
AMD = [
    {
        "gpu": 0,
        "usage": {"gfx_activity": {"value": 12, "unit": "%"}, "umc_activity": "N/A"},
        "power": {"socket_power": {"value": 140, "unit": "W"}},
        "mem_usage": {
            "total_vram": {"value": 196592, "unit": "MB"},
            "used_vram": {"value": 283, "unit": "MB"},
        },
        "ecc": {"total_uncorrectable_count": 2},
    },
    {"gpu": 1, "usage": "N/A", "power": {"socket_power": "N/A"}},
]


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Makes a program of this name, a shell script, and nothing else of its kind."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def make(name, script):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho $$ >>{tmp_path}/pids\n{script}\n")
        program.chmod(0o755)
        return tmp_path / "pids"

    return make


@pytest.fixture
def reader():
    """Makes readers, and closes them."""
    readers = []

    def make(vendor="nvidia"):
        readers.append(GpuReader(vendor, 2.0))
        return readers[-1]

    yield make
    for made in readers:
        made.close()


def lines(*texts):
    return "\n".join(f"echo '{text}'" for text in texts)


def reading_of(line):
    reading = nvidia_reading(line, FIELDS)
    assert reading is not None
    return reading


def first_readings(gpus):
    return until(lambda: gpus.read(time.time()))


def test_numbers_of_a_gpu_are_read():
    reading = reading_of(LINE)

    assert reading.names == ("0", "GPU-1")
    assert (reading.use, reading.memory_mb, reading.power_w) == (97, 70213, 412.31)
    assert (reading.gpu.memory_mb, reading.gpu.power_limit_w) == (81559, 700)
    assert (reading.held_back, reading.memory_errors) == (("its power limit",), 0)


def test_what_is_no_number_is_unknown():
    reading = reading_of(MIG)

    assert (reading.use, reading.power_w, reading.memory_errors) == (None, None, None)
    assert (reading.memory_mb, reading.gpu.power_limit_w, reading.held_back) == (12, None, ())


@pytest.mark.parametrize("line", ["", "No devices were found", LINE + ", 1", "x" + LINE, ","])
def test_other_lines_are_left_out(line):
    assert nvidia_reading(line, FIELDS) is None


@pytest.mark.parametrize(
    ("visible", "indexes"),
    [(None, "012"), ("1", "1"), ("GPU-0, GPU-2", "02"), ("MIG-41b36014", "012"), ("7", "012")],
)
def test_gpus_of_the_job_are_chosen(visible, indexes):
    texts = [f"{n}, GPU-{n}, H100, 1, 1, 1, 1, 1, 0, 0x0" for n in range(3)]
    readings = [reading_of(text) for text in texts]

    assert "".join(reading.names[0] for reading in chosen(readings, visible)) == indexes


def test_rocm_smi_is_read_behind_warnings():
    text = f"WARNING: {{odd}}\n\n{json.dumps(ROCM)}\n"

    first, second = rocm_readings(text)

    assert (first.use, first.memory_mb, first.power_w) == (61, 1024, 301)
    assert (first.gpu.name, first.gpu.power_limit_w) == ("AMD Instinct MI250X", 560)
    assert (second.use, second.power_w, second.memory_mb) == (0, None, None)


@pytest.mark.parametrize("content", [AMD, {"gpu_data": AMD}])
def test_amd_smi_is_read(content):
    first, second = amd_readings(json.dumps(content, indent=4))

    assert (first.use, first.memory_mb, first.power_w, first.memory_errors) == (12, 283, 140, 2)
    assert (second.names, second.use, second.power_w) == (("1",), None, None)


@pytest.mark.parametrize("text", ["", "{", "[1, null]", '{"card0": 1}', "null", "[" * 99999])
def test_damaged_answers_give_nothing(text):
    assert amd_readings(text) == []
    assert rocm_readings(text) == []


def test_old_driver_is_asked_otherwise(tool, reader):
    pids = tool("nvidia-smi", OLD_DRIVER + lines(LINE, MIG) + "\nexec sleep 600")
    gpus = reader()

    assert [reading.names[0] for reading in first_readings(gpus)] == ["0", "1"]
    assert gpus.problem == ""
    first, second = map(int, pids.read_text().split())
    gpus.close()
    assert first != second
    assert not os.path.exists(f"/proc/{second}")


def test_failing_tool_says_its_problem(tool, reader):
    pids = tool("nvidia-smi", "echo NVIDIA-SMI has failed; exit 9")
    gpus = reader()

    until(lambda: gpus.read(time.time()) or not gpus._tools)
    assert len(pids.read_text().split()) == 3, "it is asked in three ways"
    assert gpus.problem == "nvidia-smi says: NVIDIA-SMI has failed"


def test_dying_tool_is_started_again(tool, reader):
    pids = tool("nvidia-smi", lines(LINE))
    gpus = reader()
    now = time.time()

    def hour_later():
        nonlocal now
        now += 3600
        gpus.read(now)
        time.sleep(0.01)
        return not gpus._tools

    assert first_readings(gpus)
    until(hour_later)
    assert len(pids.read_text().split()) == 5


def test_hanging_tool_is_killed(tool, reader):
    pids = tool("nvidia-smi", "exec sleep 600")
    gpus = reader()

    gpus.read(1000.0)
    until(pids.exists)
    gpus.read(1000.0 + 61)
    assert "does not answer" in gpus.problem
    assert not os.path.exists(f"/proc/{int(pids.read_text())}")


def test_eight_gpus_come_line_by_line(tool, reader):
    eight = [LINE.replace("0, GPU-1", f"{n}, GPU-{n}", 1) for n in range(8)]
    tool(
        "nvidia-smi",
        f"printf '{LINE[:20]}'; sleep 0.2; echo '{LINE[20:]}'\n{lines(*eight[1:])}\nexec sleep 600",
    )
    gpus = reader()
    readings = []

    def eight_of_them():
        readings.extend(gpus.read(time.time()))
        return len(readings) == 8

    until(eight_of_them)
    assert [reading.names[0] for reading in readings] == list("01234567")


def test_rocm_smi_stands_in_for_amd_smi(tool, reader):
    pids = tool("amd-smi", "echo unknown option --ecc; exit 1")
    tool("rocm-smi", lines(json.dumps(ROCM)))
    gpus = reader("amd")

    assert len(first_readings(gpus)) == 2
    for _ in range(5):
        gpus.read(time.time())
    assert len(pids.read_text().split()) == 2, "it is started once a minute"


@pytest.mark.parametrize("vendor", ["nvidia", "amd"])
def test_missing_tool_is_named(tool, reader, vendor):
    tool("other", "")
    gpus = reader(vendor)

    assert gpus.read(time.time()) == []
    assert gpus.problem.startswith("there is no ")
