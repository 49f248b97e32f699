"""What sacct prints, of this SLURM and of others, as values."""

from __future__ import annotations

import time

import pytest

from hpcdl.errors import SchedulerError
from hpcdl.scheduler.accounting import (
    cpu_seconds,
    job_records,
    memory_kib,
    records_by_job,
    records_of,
)

FIELDS = [
    "JobIDRaw",
    "JobID",
    "State",
    "Submit",
    "Eligible",
    "Start",
    "End",
    "ElapsedRaw",
    "TimelimitRaw",
    "AllocCPUS",
    "NNodes",
    "NTasks",
    "TotalCPU",
    "ReqMem",
    "MaxRSS",
    "AllocTRES",
    "TRESUsageInMax",
    "ConsumedEnergyRaw",
]
# A requeued job, as SLURM 22.05 lists it
REQUEUED = """\
12250|12250|REQUEUED|2026-11-28T16:43:21|2026-11-28T16:43:21|2026-11-28T16:43:22|2026-11-28T16:43:30|8|10|20|1||00:05.753|512000000K||billing=20,cpu=20,gres/gpu=2,node=1||
12250.batch|12250.batch|COMPLETED|2026-11-28T16:43:22|2026-11-28T16:43:22|2026-11-28T16:43:22|2026-11-28T16:43:30|8||20|1|1|00:05.753||407452K|cpu=20,gres/gpu=2,mem=0,node=1|cpu=00:00:04,energy=0,mem=407452K|0
12250|12250|COMPLETED|2026-11-28T16:43:30|2026-11-28T16:43:32|2026-11-28T16:43:35|2026-11-28T16:43:42|7|10|20|1||00:07.118|512000000K||billing=20,cpu=20,gres/gpu=2,node=1||
12250.batch|12250.batch|COMPLETED|2026-11-28T16:43:35|2026-11-28T16:43:35|2026-11-28T16:43:35|2026-11-28T16:43:42|7||20|1|1|00:07.118||449012K|cpu=20,gres/gpu=2,mem=0,node=1|cpu=00:00:04,mem=449012K|0
"""


def one(line: str, *steps: str, fields: list[str] = FIELDS):
    (record,) = records_of("\n".join([line, *steps]), fields)
    return record


def job(**values: str) -> str:
    row = {"JobIDRaw": "7", "JobID": "7", "State": "COMPLETED", "Submit": "2026-11-28T16:00:00"}
    return "|".join({**row, **values}.get(name, "") for name in FIELDS)


def step(name: str, **values: str) -> str:
    return job(JobIDRaw=f"7.{name}", JobID=f"7.{name}", **values)


def test_each_attempt_of_requeued_job():
    first, last = records_of(REQUEUED, FIELDS)

    assert (first.state, last.state) == ("REQUEUED", "COMPLETED")
    assert (first.elapsed_s, last.elapsed_s) == (8, 7)
    assert (first.cpu_s, last.cpu_s) == (5.753, 7.118)
    assert last.used_memory_kib == 449012
    assert last.asked_memory_kib == 512000000
    assert (last.gpus, last.cpus, last.time_limit_s) == (2, 20, 600)
    assert (last.start or 0) - (last.eligible or 0) == 3
    assert last.energy_j is None
    assert last.gpu_use is None


def test_older_jobs_of_same_number():
    """SLURM may use a number again: what was submitted before the run is another job."""
    sent = time.mktime(time.strptime("2026-11-28T16:45:00", "%Y-%m-%dT%H:%M:%S"))

    assert records_of(REQUEUED, FIELDS, since=sent) == []
    assert len(records_of(REQUEUED, FIELDS, since=sent - 30)) == 1
    assert len(records_of(REQUEUED, FIELDS, since=sent - 60)) == 2


def test_steps_of_one_job():
    """Steps of srun: their CPU time adds up, and memory is the largest task's times its tasks."""
    record = one(
        job(TotalCPU="00:30", NNodes="2", AllocCPUS="8", ElapsedRaw="10", ReqMem="4000M"),
        step("batch", TotalCPU="00:02", MaxRSS="900K", NTasks="1"),
        step("extern", TotalCPU="00:00", MaxRSS="0", NTasks="2"),
        step("0", TotalCPU="00:28.5", MaxRSS="1000K", NTasks="2"),
    )

    assert record.cpu_s == 30.5
    assert record.used_memory_kib == 2000
    assert record.asked_memory_kib == 4000 * 1024


@pytest.mark.parametrize(
    ("asked", "kib"),
    [("4Gn", 2 * 4 * 1024**2), ("4Gc", 8 * 4 * 1024**2), ("4G", 4 * 1024**2), ("0", None), ("", None)],
)  # fmt: skip
def test_memory_per_node_or_cpu(asked, kib):
    assert one(job(ReqMem=asked, NNodes="2", AllocCPUS="8")).asked_memory_kib == kib


def test_running_job_has_no_cpu_time():
    record = one(job(State="RUNNING", TotalCPU="00:00:00", End="Unknown"))

    assert record.cpu_s is None


def test_waiting_job_has_no_start():
    record = one(job(State="PENDING", Start="Unknown", Eligible="Unknown"))

    assert (record.start, record.eligible) == (None, None)


def test_cancelled_by_somebody():
    assert one(job(State="CANCELLED by 1000")).state == "CANCELLED"


def test_measured_energy_and_gpu_use():
    """Newer SLURMs with the plugins for them."""
    record = one(
        job(AllocTRES="cpu=4,gres/gpu:h100=2"),
        step("batch", ConsumedEnergyRaw="3600", TRESUsageInMax="gres/gpuutil=83,gres/gpumem=2G"),
        step("extern", ConsumedEnergyRaw="3500"),
    )

    assert record.energy_j == 3600
    assert record.gpu_use == 83
    assert record.gpus == 2


@pytest.mark.parametrize("limit", ["UNLIMITED", "Partition_Limit", ""])
def test_job_without_time_limit(limit):
    assert one(job(TimelimitRaw=limit)).time_limit_s is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:06.159", 6.159), ("01:02:03", 3723), ("1-02:03:04", 93784), ("", None), ("INVALID", None)],
)  # fmt: skip
def test_cpu_time_in_all_forms(text, seconds):
    assert cpu_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "kib"), [("214504K", 214504), ("440.50M", 451072), ("16?", None), ("1T", 1024**3)]
)
def test_sizes_in_all_units(text, kib):
    assert memory_kib(text) == kib


def test_tasks_of_an_array():
    lines = [job(JobIDRaw="8", JobID="7_0"), job(JobIDRaw="7", JobID="7_1")]
    waits = job(JobIDRaw="7", JobID="7_[2-5%2]", State="PENDING", Start="Unknown")

    by_job = records_by_job(records_of("\n".join([*lines, waits]), FIELDS))

    assert [record.job_id for record in by_job["7"]] == ["7_0", "7_1", "7_[2-5%2]"]


@pytest.fixture
def sacct(tmp_path, monkeypatch):
    """A sacct that says what it is told to; the words it was called with are kept."""

    def says(answer: str, fields: str = "JobIDRaw JobID State ElapsedRaw", code: int = 0):
        (tmp_path / "answer").write_text(answer)
        lines = [
            "#!/bin/sh",
            f'echo "$@" >>{tmp_path}/asked',
            f'[ "$1" != --helpformat ] || {{ echo "{fields}"; exit 0; }}',
            f"cat {tmp_path}/answer",
            f"exit {code}",
        ]
        (tmp_path / "sacct").write_text("\n".join(lines) + "\n")
        (tmp_path / "sacct").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    says.asked = lambda: (tmp_path / "asked").read_text().splitlines()  # type: ignore[attr-defined]
    return says


def test_only_fields_that_slurm_has(sacct):
    sacct("7|7|COMPLETED|12\n")

    (record,) = job_records(["7"])

    assert record.elapsed_s == 12
    assert record.energy_j is None
    assert "--duplicates" in sacct.asked()[1]
    assert "--format=JobIDRaw,JobID,State,ElapsedRaw --jobs=7" in sacct.asked()[1]


def test_many_jobs_few_questions(sacct):
    sacct("")

    assert job_records([str(number) for number in range(1200)]) == []
    assert sum("--jobs=" in line for line in sacct.asked()) == 3


def test_accounting_that_is_switched_off(sacct):
    sacct("Slurm accounting storage is disabled\n", code=1)

    with pytest.raises(SchedulerError, match="accounting storage is disabled"):
        job_records(["7"])
