"""Pipelines on the real SLURM: one that succeeds, one whose middle step fails, one that is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.testbed.conftest import Bed, Run, until

pytestmark = pytest.mark.testbed

PIPELINE = """
steps:
  report:
    job:
      name: report
      container: python
      resources: {gpus: 0, time: "00:05:00"}
      script: report.py
    after: [train, "pack:any"]
  pack: {job: pack.yaml}
  train:
    job: pack.yaml
    set: [name=train, script=train.py]
    after: pack
"""
PACK = 'name: pack\ncontainer: python\nresources: {gpus: 0, time: "00:05:00"}\nscript: pack.py\n'
READS = 'import os\npack = os.environ["HPCDL_AFTER"]\nprint(open(pack + "/work/packed").read())\n'
REPORT = 'import os\nprint("after", os.environ["HPCDL_AFTER"])\n'


def write(bed: Bed, train: str) -> None:
    bed.write("pipeline.yaml", PIPELINE)
    bed.write("pack.yaml", PACK)
    bed.write("pack.py", 'import time\ntime.sleep(3)\nopen("packed", "w").write("42 rows")\n')
    bed.write("train.py", train)
    bed.write("report.py", REPORT)


def send(bed: Bed, *options: str) -> list[Run]:
    done = bed.run(
        *("hpcdl", "submit", "pipeline.yaml", "--cluster", bed.profile, "--runs-dir", bed.runs),
        *options,
    )
    assert "report: submitted as job" in done.stderr
    return [Run(bed, Path(line)) for line in done.stdout.splitlines()]


def test_pipeline_runs_in_order(bed: Bed) -> None:
    """Each step finds the runs before it, in its container, by HPCDL_AFTER."""
    write(bed, READS)
    pack, train, report = send(bed, "--wait")
    assert [run.json("result.json")["state"] for run in (pack, train, report)] == ["done"] * 3
    assert "42 rows" in train.log()
    assert f"after {train.path}:{pack.path}" in report.log()
    starts = [run.lines("attempts.jsonl")[0]["time"] for run in (pack, train, report)]
    assert starts == sorted(starts)


def test_failed_step_cancels_the_rest(bed: Bed) -> None:
    write(bed, READS + 'raise SystemExit("no good")\n')
    pack, train, report = send(bed)
    assert (pack.wait()["state"], train.wait()["state"]) == ("done", "failed")
    ended = until(lambda: (s := report.status())["state"] == "cancelled" and s)
    assert ended["cause"] == "dependency"
    assert f"train/{train.path.name}, after which it was to run, is failed" in ended["note"]


def test_none_is_sent_if_one_cannot(bed: Bed) -> None:
    write(bed, "import no_such_module\n")
    refused = bed.run(
        *("hpcdl", "submit", "pipeline.yaml", "--cluster", bed.profile, "--runs-dir", bed.runs),
        check=False,
    )
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "cannot run: train; none of the jobs was sent" in refused.stderr
    assert not bed.runs.exists() or not list(bed.runs.glob("[!.]*/*"))


def test_budget_counts_all_steps(bed: Bed) -> None:
    """Two steps of an hour and a GPU each: one alone would be within the budget."""
    write(bed, READS)
    text = PIPELINE.replace("gpus: 0", "gpus: 1").replace("00:05:00", "01:00:00")
    bed.write(
        "pipeline.yaml", text.replace("script=train.py]", "script=train.py, resources.gpus=1]")
    )
    bed.write("pack.yaml", PACK.replace("00:05:00", "01:00:00"))
    refused = bed.run(
        *("hpcdl", "submit", "pipeline.yaml", "--cluster", bed.profile, "--runs-dir", bed.runs),
        *("--set", "cluster.budget_gpu_hours=1.5"),
        check=False,
    )
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "budget_gpu_hours" in refused.stderr
