"""`hpcdl compare`: runs side by side in the terminal, as JSON and as a page."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from hpcdl.report.settings import differences
from tests.report.conftest import JOB, change

pytestmark = pytest.mark.tensorflow


@pytest.fixture
def improved(copied):
    """A run that is better, larger and slower than the finished one, by a job that differs in three keys."""
    job = yaml.safe_load((copied / "job.yaml").read_text())
    job["name"] = "improved"
    job["train"]["optimizer"]["learning_rate"] = 0.5
    job["model"]["filters"] = [8, 16]
    del job["model"]["dense"]
    (copied / "job.yaml").write_text(yaml.safe_dump(job))
    result = json.loads((copied / "result.json").read_text())
    result["name"] = "improved"
    (copied / "result.json").write_text(json.dumps(result))
    change(
        copied, "result.json", test={"accuracy": 0.999}, model={"parameters": 1234567, "depth": 5}
    )
    return copied


def test_side_by_side(finished, improved, cli):
    answer = cli("compare", finished, improved)

    assert answer.code == 0, answer.err
    header, *lines = answer.out.splitlines()
    assert header.split() == ["small", "improved"]
    first = json.loads((finished / "result.json").read_text())
    values = {line.split("  ")[0]: line for line in lines}
    assert values["test accuracy"].split()[2:] == [
        f"{100 * first['test']['accuracy']:.2f}",
        "%",
        "99.90",
        "%",
        "*",
    ]
    assert values["parameters"].split()[1:] == [
        f"{first['model']['parameters']:,}",
        "*",
        "1,234,567",
    ]
    assert values["depth"].split()[1:] == ["3", "layers", "5", "layers"]
    assert values["epochs"].split()[1:] == ["4", "4"]
    assert values["GPU hours"].split()[2:] == ["0.000", "0.000"]
    differing = [line.split()[0] for line in lines[lines.index("JOB") + 1 :]]
    assert differing == ["model.filters", "model.dense", "train.optimizer.learning_rate"]
    assert "\u00a0" not in answer.out


def test_json_has_raw_values(finished, improved, cli):
    told = json.loads(cli("compare", finished, improved, "--json").out)

    assert [run["name"] for run in told["runs"]] == ["small", "improved"]
    assert told["runs"][1]["test_accuracy"] == 0.999
    assert told["runs"][0]["run"] == str(finished)
    assert told["differences"]["model.filters"] == [[4], [8, 16]]
    assert told["differences"]["model.dense"] == [[8], None]


def test_page_overlays_curves(finished, improved, cli, tmp_path):
    answer = cli("compare", finished, improved, "--html", tmp_path / "compare.html")

    assert answer.err == f"written: {tmp_path}/compare.html\n"
    page = (tmp_path / "compare.html").read_text()
    assert "Validation accuracy of 2 runs over their epochs" in page
    assert page.count("<polyline") == 4
    assert '<td class="n best">1,234,567' not in page
    assert '<td class="n best">99.90' in page


def test_same_run_names_get_ids(finished, copied, cli):
    header = cli("compare", finished, copied).out.splitlines()[0]

    assert header.split() == [f"small/…{finished.name[-4:]}", "small/…copy"]


def test_runs_that_share_little(submit, finished, cli):
    script = submit(
        {"name": "script", "script": "broken.py", "resources": {"gpus": 0}}, "print('done')\n"
    )

    answer = cli("compare", script, finished, "--html", script / "compare.html")

    assert answer.code == 0, answer.err
    assert "–" in answer.out
    assert (script / "compare.html").exists()


def test_emulated_gpus_cost_no_gpu_hours(copied, finished, cli):
    change(
        copied,
        "result.json",
        devices={"emulated": True, "names": ["CPU:0 emulated", "CPU:1 emulated"]},
    )
    change(copied, "plan.json", size={"gpus": 2, "emulate_gpus": True})

    told = json.loads(cli("compare", copied, finished, "--json").out)["runs"][0]

    assert (told["devices"], told["gpu_hours"]) == ("2 emulated GPUs", 0.0)


def test_gpu_hours_and_kinds(copied, finished, cli):
    change(copied, "result.json", devices={"names": ["GPU:0 NVIDIA H100", "GPU:1 NVIDIA H100"]})
    change(copied, "plan.json", size={"gpus": 2})
    ends = [json.loads(line) for line in (copied / "attempts.jsonl").read_text().splitlines()]
    ends[-1]["seconds"] = 5400.0
    (copied / "attempts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ends))

    told = json.loads(cli("compare", copied, finished, "--json").out)["runs"][0]

    assert (told["devices"], told["gpu_hours"]) == ("2 x NVIDIA H100", 3.0)


def test_runs_differ_only_by_name():
    assert differences([JOB, {**JOB, "name": "other"}]) == {}


def test_differences_are_by_dotted_key():
    jobs: list[dict[str, Any]] = [
        {"a": {"b": 1, "c": 2}, "d": [1]},
        {"a": {"b": 1, "c": 3}, "e": {}},
    ]

    assert differences(jobs) == {"a.c": [2, 3], "d": [[1], None], "e": [None, {}]}
