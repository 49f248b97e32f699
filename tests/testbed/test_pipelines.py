"""Pipelines on the real SLURM: one that succeeds, one whose middle step fails, one that is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.testbed.conftest import VENV, Bed, Run, until

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

COMMANDS = """
steps:
  pack: {hpcdl: data pack photos}
  train:
    job: {name: train, container: python, script: train.py, resources: {gpus: 0, time: "00:05:00"}}
    after: pack
  report:
    hpcdl: report {train} -o page.html
    resources: {time: "00:05:00"}
"""
LOOKS = 'import os\nprint(os.listdir(os.environ["HPCDL_DATA_ROOT"] + "/photos"))\n'
IMAGES = """
import os
from PIL import Image
for label in ("a", "b"):
    os.makedirs(f"photos/{label}")
    for number in range(5):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(f"photos/{label}/{number}.png")
"""


def write_commands(bed: Bed) -> None:
    bed.write("pipeline.yaml", COMMANDS)
    bed.write("train.py", LOOKS)
    bed.write("images.py", IMAGES)


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


def test_commands_run_on_nodes(bed: Bed) -> None:
    """Pack, a script and report: the commands without a container, with the user's paths."""
    write_commands(bed)
    bed.run(VENV / "python", "images.py")
    given = ("--set", f"cluster.data_root={bed.folder}/data")
    where = ("--cluster", bed.profile, "--runs-dir", bed.runs, *given)
    script = bed.run("hpcdl", "submit", "pipeline.yaml", *where, "--dry-run").stdout
    assert f"hpcdl data pack photos --data-root {bed.folder}/data" in script
    pack, train, report = send(bed, "--wait", *given)
    assert report.json("result.json")["command"] == ["report", str(train.path), "-o", "page.html"]
    assert "train.npy" in train.log()
    assert "<html" in (bed.folder / "page.html").read_text()
    assert "done" in bed.run("hpcdl", "cost", pack.path).stdout


def test_failed_command_is_retried(bed: Bed) -> None:
    """Its folder of images is missing. When it is there, the steps after it go on as well."""
    write_commands(bed)
    pack, train, report = send(bed, "--set", f"cluster.data_root={bed.folder}/data")
    assert pack.wait()["state"] == "failed"
    assert until(lambda: report.status()["state"] == "cancelled")
    bed.run(VENV / "python", "images.py")
    bed.run("hpcdl", "retry", pack.path, "--force")
    assert [run.wait()["state"] for run in (pack, train, report)] == ["done"] * 3


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
