"""Batch scripts of `hpcdl render`, sent by sbatch alone: warned, stopped, requeued, resumed."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest

from tests.testbed.conftest import CHECKOUT, SCRATCH, Bed, Run, new_bed, start_again, until
from tests.testbed.test_faults import COUNTER, JOB

pytestmark = pytest.mark.testbed

WEIGHTS = SCRATCH / "data/models/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
COLOURS = f"""\
name: colours
resources: {{gpus: 1, time: "00:10:00"}}
data: {{path: elsewhere/colours.npz}}
model: {{backbone: MobileNetV2, weights: {WEIGHTS}}}
train: {{epochs: 2, batch_size: 15}}
"""


class Sent(Run):
    """A job sent by sbatch from a folder of the bed's."""

    def __init__(self, bed: Bed, script: str, folder: str = ".") -> None:
        super().__init__(bed, bed.folder / folder)
        job_id = bed.run(
            "bash", "-c", f"cd {folder} && exec sbatch --parsable {script}"
        ).stdout.strip()
        bed.write(
            f"{folder}/submitted.json", json.dumps({"job_id": job_id})
        )  # where the bed finds what it must cancel

    def printed(self) -> str:
        """All that it printed so far, the batch script's own words included."""
        return "".join(path.read_text() for path in sorted(self.path.glob(f"*.{self.job_id}.*")))

    def until_printed(self, text: str, times: int = 1) -> None:
        until(lambda: self.printed().count(text) >= times)

    def warn(self) -> None:
        """Send what SLURM sends before the time limit."""
        self.bed.run("scancel", "--batch", "--signal=USR2", self.job_id)

    def end(self) -> str:
        """Wait for its end, as sacct has it: state and exit status."""
        argv = ["sacct", "-n", "-X", "-P", "-o", "State,ExitCode", "-j", self.job_id]

        def ended() -> str:
            said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
            return said if said.startswith(("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")) else ""

        said: str = until(ended, timeout_s=300)
        assert not list(self.path.glob("stop*"))
        return said


def render(bed: Bed, job: str, output: str, *options: str) -> str:
    bed.run("hpcdl", "render", job, "--cluster", bed.profile, *options, "-o", output)
    return output


def counter(bed: Bed, work: int, time: str, *options: str) -> Sent:
    bed.write("counter.py", COUNTER)
    bed.write("job.yaml", JOB.format(time=time, work=work))
    return Sent(bed, render(bed, "job.yaml", "counter.slurm", *options))


def starts(printed: str) -> list[int]:
    """The counts that the attempts began with."""
    return [int(number) for number in re.findall(r"^from (\d+)$", printed, re.MULTILINE)]


@pytest.fixture(scope="module")
def limited(cluster: None) -> Iterator[Sent]:
    """A job that needs longer than its time limit of a minute; it runs while the other tests do."""
    sent = counter(
        new_bed("test-standalone-limit"), 300, "00:01:00", "--set", "cluster.signal_lead_s=15"
    )
    yield sent
    subprocess.run(["scancel", "--quiet", sent.job_id], check=False)


def test_requeue_count_is_obeyed(limited: Sent, bed: Bed) -> None:
    job = counter(bed, 10_000, "00:10:00", "--set", "cluster.max_requeues=1")
    job.until_printed("from")
    job.warn()
    stale = bed.folder / f"stop.{job.job_id}"
    until(lambda: bed.run("squeue", "-h", "-o", "%T", "-j", job.job_id).stdout == "PENDING\n")
    bed.write(stale.name, "")
    start_again(job)
    job.until_printed("from", times=2)
    count = int((bed.folder / "count").read_text())
    until(lambda: int((bed.folder / "count").read_text()) > count)
    assert not stale.exists()
    job.warn()
    assert job.end() == "FAILED|75:0"
    first, second = starts(job.printed())
    assert (first, second > 0) == (0, True)


def test_script_without_requeue_is_resubmitted(limited: Sent, bed: Bed) -> None:
    """The header says how to submit it again, and it continues from its saved state."""
    job = counter(bed, 30, "00:10:00", "--set", "cluster.requeue=false")
    job.until_printed("from")
    job.warn()
    assert job.end() == "FAILED|75:0"
    header = (bed.folder / "counter.slurm").read_text().partition("#SBATCH")[0]
    assert (
        "# Jobs are not requeued here: one that ends with exit status 75 has saved its state; submit it"
        in header
    )
    again = Sent(bed, "counter.slurm")
    assert again.end() == "COMPLETED|0:0"
    assert starts(again.printed())[0] > 0
    assert "reached 30" in again.printed()


HEEDS_SIGNAL = """
import os, signal, sys, time
if os.environ["HPCDL_ATTEMPT"] == "2":
    sys.exit(print("again"))
seen = []
signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
print("ready", flush=True)
while not seen:
    time.sleep(0.1)
print("signals", len(seen), os.path.exists(os.environ["HPCDL_STOP_FILE"]))
sys.exit(75)
"""


def test_script_gets_its_own_signal(limited: Sent, bed: Bed) -> None:
    bed.write("heeds.py", HEEDS_SIGNAL)
    bed.write(
        "job.yaml",
        "name: s\ncontainer: python\nresources: {gpus: 0}\nscript: heeds.py\nstop_signal: USR1\n",
    )
    job = Sent(bed, render(bed, "job.yaml", "s.slurm"))
    job.until_printed("ready")
    job.warn()
    start_again(job)
    assert job.end() == "COMPLETED|0:0"
    assert "signals 1 True\nagain\n" in job.printed()


def test_bundles_continue_after_warning(limited: Sent, bed: Bed) -> None:
    bed.run("hpcdl", "data", "stage", "digits", "--data-root", "data")
    data = ("--set", f"cluster.data_root={bed.folder}/data")
    small = (*data, "--set", "model.filters=[8, 16]", "--set", "train.epochs=15")
    (script,) = re.findall(r"```python\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    bed.write("train.py", script)
    bed.write(
        "job.yaml", "name: readme\ncontainer: tf2.11\nresources: {gpus: 1}\nscript: train.py\n"
    )
    for image in ("tensorflow", "tf2.11"):
        render(bed, "digits_cnn", f"{image}/", *small, "--set", f"container={image}")
    render(bed, "job.yaml", "readme/")
    begun = {"tensorflow": "epoch 2/", "tf2.11": "epoch 2/", "readme": "Epoch 3/20"}
    *models, script_job = jobs = [Sent(bed, "job.sbatch", folder) for folder in begun]
    waiting = list(jobs)

    def warn() -> bool:
        for job in list(waiting):
            if begun[job.path.name] in job.printed():
                job.warn()
                waiting.remove(job)
        return not waiting

    until(warn)
    assert [job.end() for job in jobs] == ["COMPLETED|0:0"] * 3
    for job in models:
        printed = job.printed()
        result = json.loads((job.path / "result.json").read_text())
        assert (result["state"], result["epochs_run"]) == ("done", 15)
        assert "attempt 1" in printed
        assert "attempt 2" in printed
        rows = [json.loads(line) for line in (job.path / "metrics.jsonl").read_text().splitlines()]
        assert [row["epoch"] for row in rows] == list(range(1, 16))
    assert "goes on after epoch" in script_job.printed()
    assert "test accuracy" in script_job.printed()


def test_time_limit_is_survived(limited: Sent) -> None:
    assert limited.end() == "COMPLETED|0:0"
    began = starts(limited.printed())
    assert began[0] == 0
    assert began[1] > 0
    assert "reached 300" in limited.printed()


def test_backbone_bundle_reads_outside_files(limited: Sent, bed: Bed) -> None:
    """Data and weights outside data_root are bound in a rendered bundle."""
    random = np.random.default_rng(1)
    labels = np.arange(60) % 3
    images = (
        random.integers(0, 120, (60, 32, 32, 3)) + 100 * np.eye(3, dtype=int)[labels][:, None, None]
    ).astype("u1")
    bed.run("mkdir", "data", "elsewhere")
    arrays = {
        "x_train": images[:45],
        "y_train": labels[:45],
        "x_test": images[45:],
        "y_test": labels[45:],
    }
    np.savez(bed.folder / "elsewhere/colours.npz", **arrays)
    bed.write("job.yaml", COLOURS)
    render(bed, "job.yaml", "colours/", "--set", f"cluster.data_root={bed.folder}/data")
    job = Sent(bed, "job.sbatch", "colours")
    assert job.end() == "COMPLETED|0:0", job.printed()
    result = json.loads((job.path / "result.json").read_text())
    assert (result["data"]["rows_train"], result["test"]["rows"], result["epochs_run"]) == (
        45,
        15,
        2,
    )
    assert "frozen: all 104 layers with weights" in job.printed()
