"""The report's curves of GPUs, CPUs and memory, and what is said about them."""

from __future__ import annotations

import json
from html import unescape

import pytest

from hpcdl.report.devices import device_curves
from hpcdl.run.paths import RunPaths


def write_samples(folder, count, devices=None, **keys):
    """The samples of so many minutes, four a minute; the GPUs' values are those of each sample."""
    lines = [] if devices is None else [devices]
    for number in range(4 * count):
        time = 1_764_300_000 + 15 * number
        lines.append({"attempt": 1 + number // 100, "time": time, "seconds": 15.0, **keys})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    RunPaths(folder).devices.write_text(text)


def two(name="NVIDIA H100", node="n<1>", problem=""):
    gpu = {"name": name, "memory_mb": 81920, "power_limit_w": 700}
    return {"node": node, "cpus": 8, "gpus": [gpu, gpu], "problem": problem}


VALUES = {
    "cpus": 3.5,
    "memory_mb": 2048,
    "read_mb_s": 12,
    "use": [90.0, 4.0],
    "gpu_memory_mb": [4096, 8192],
    "power_w": [400, None],
}


def test_curves_of_each_node(tmp_path):
    worker = tmp_path / "workers/1"
    worker.mkdir(parents=True)
    write_samples(tmp_path, 10, {**two(node="n1"), "nodes": 2}, **VALUES)
    idle = {**VALUES, "use": [0.0, 2.0], "memory_errors": [0, 3]}
    write_samples(worker, 5, {**two(node="n2"), "nodes": 2}, **idle)

    shown = device_curves(RunPaths(tmp_path))

    assert shown is not None
    use, _, _, cpus = shown["charts"][:4]
    names = ["n1 GPU 0", "n1 GPU 1", "n2 GPU 0", "n2 GPU 1"]
    assert [line.name for line in use["legend"]] == names
    assert [line.name for line in cpus["legend"]] == ["n1", "n2"]
    assert use["legend"][3].points[-1] == pytest.approx((4.9, 2.0), abs=0.1), "minutes"
    sentences = " ".join(shown["sentences"])
    assert "GPUs 32 % busy" in sentences
    assert "12.0 MB/s read (on each of 2 nodes)" in sentences
    assert "On n2: 2 GPUs (NVIDIA H100)" in sentences
    assert "GPU 1 of n2 had memory errors" in sentences
    write_samples(tmp_path, 40, two(node="n1"), **VALUES)  # the second attempt has one node
    shown = device_curves(RunPaths(tmp_path))
    assert shown is not None
    assert "on each of" not in shown["sentences"][0]


def test_curves_of_each_gpu(tmp_path):
    write_samples(tmp_path, 600, two(), **VALUES)

    shown = device_curves(RunPaths(tmp_path))

    assert shown is not None
    titles = [chart["title"] for chart in shown["charts"]]
    assert titles == [
        "Use of the GPUs",
        "Memory of the GPUs",
        "Power of the GPUs",
        "Busy CPUs",
        "Memory of all processes",
        "Reading, MB/s",
    ]
    use, _, power = shown["charts"][:3]
    assert [line.name for line in use["legend"]] == ["GPU 0", "GPU 1"]
    assert power["legend"] == [], "only one of them tells its power"
    assert all(len(line.points) <= 200 for line in use["legend"])
    assert use["legend"][0].points[-1][0] == pytest.approx(10, abs=0.1), "hours"
    assert "GPUs 47 % busy, up to 8.0 GB of a GPU's memory, 400 W a GPU" in shown["sentences"][0]
    assert "2 GPUs (NVIDIA H100) of 80 GB that may draw 700 W each" in shown["sentences"][1]


def test_many_gpus_are_one_line(tmp_path):
    write_samples(tmp_path, 5, use=[float(number) for number in range(16)])

    shown = device_curves(RunPaths(tmp_path))

    assert shown is not None
    assert "mean of 16 GPUs" not in str(shown["charts"][0]["legend"])
    assert str(shown["charts"][0]["svg"]).count("<polyline") == 1


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"use": [3.0]}, "The GPUs were idle most of the time: 0.08 of 0.08 GPU-hours"),
        (
            {"gpu_memory_mb": [1, 1], "held_back": {"heat": [15, 0]}},
            "50\u00a0% of the GPUs' time was slowed by heat",
        ),
        ({"use": [50, 50], "memory_errors": [0, 2]}, "GPU 1 had memory errors"),
    ],
)
def test_what_the_samples_say(tmp_path, keys, words):
    write_samples(tmp_path, 5, **keys)

    shown = device_curves(RunPaths(tmp_path))

    assert shown is not None
    assert any(words in sentence for sentence in shown["sentences"])


@pytest.mark.tensorflow
def test_page_shows_samples(cli, copied, tmp_path):
    page = tmp_path / "page.html"
    RunPaths(copied).devices.unlink(missing_ok=True)  # it exists if the training took its time
    assert cli("report", copied, "-o", page).code == 0
    assert "GPUs, CPUs and memory" not in page.read_text()

    write_samples(copied, 30, two(problem="nvidia-smi says: <b>no</b>"), **VALUES)
    assert cli("report", copied, "-o", page).code == 0

    text = page.read_text()
    assert "GPUs, CPUs and memory" in text
    assert "<b>no</b>" not in text
    assert "The GPUs could not be sampled: nvidia-smi says: <b>no</b>." in unescape(text)
    assert "On n&lt;1&gt;" in text


@pytest.mark.tensorflow
def test_damaged_samples_leave_the_page(cli, copied, tmp_path):
    paths = RunPaths(copied)
    line = {"attempt": 1, "time": 1, "seconds": 0, "use": [1e300, None], "cpus": float("nan")}
    paths.devices.write_text(
        "[\n\x00\n" + json.dumps(line) + "\n" + json.dumps({**line, "use": [5]})
    )

    assert cli("report", copied, "-o", tmp_path / "page.html").code == 0
