"""The time limit as launch sees it: when it asks to stop, and when it must kill."""

from __future__ import annotations

import json

from hpcdl.launch.deadline import Deadline, Request, first_request
from hpcdl.run.paths import RunPaths

PID = 0  # the deadline only looks at the time


def test_deadline_stops_before_the_limit(tmp_path):
    """It leaves the time of three of the slowest saves and the margin."""
    paths = RunPaths(tmp_path)
    deadline = Deadline(paths, end_time=1000.0, margin_s=60.0)
    deadline.look(939.0, PID)
    assert not paths.stop.exists()
    paths.heartbeat.write_text(json.dumps({"slowest_save_s": 20.0}))
    deadline.look(879.0, PID)
    assert not paths.stop.exists()
    deadline.look(880.0, PID)
    assert paths.stop.exists()
    assert deadline.near_the_end(lead_s=1.0, now=880.0)


def test_deadline_knows_overtime_of_local_run(tmp_path):
    """SLURM kills its own jobs; launch kills a local run soon after its limit."""
    deadline = Deadline(RunPaths(tmp_path), end_time=1000.0, margin_s=10.0, kills=True)
    deadline.look(1009.0, PID)
    assert not deadline.overtime
    deadline.look(1010.0, PID)
    assert deadline.overtime
    in_slurm = Deadline(RunPaths(tmp_path), end_time=1000.0, margin_s=10.0)
    in_slurm.look(2000.0, PID)
    assert not in_slurm.overtime


def test_deadline_separates_preemption_from_limit(tmp_path):
    """A warning long before the limit is a preemption."""
    deadline = Deadline(RunPaths(tmp_path), end_time=1000.0, margin_s=60.0)
    assert deadline.near_the_end(lead_s=180.0, now=731.0)
    assert not deadline.near_the_end(lead_s=180.0, now=729.0)
    assert not Deadline(RunPaths(tmp_path), None, 60.0).near_the_end(lead_s=180.0, now=1e12)


def test_first_request_is_said(tmp_path, capfd):
    """Whether SLURM's warning came, or hpcdl's clock had to stand in for it."""
    paths = RunPaths(tmp_path)
    unwarned, warned, quick = (Deadline(paths, end_time=1000.0, margin_s=15.0) for _ in range(3))
    unwarned.look(984.0, PID)
    unwarned.look(986.0, PID)
    assert first_request(capfd.readouterr().out) == Request(True, 14)

    for now in (960.0, 986.0):  # the clock's time comes, too, while the program saves
        warned.look(now, PID)
    warned.note_end(990.0)
    assert first_request(f"attempt 1\n{capfd.readouterr().out}") == Request(False, 40, 10)
    quick.note_end(950.0)
    assert first_request(capfd.readouterr().out) == Request(False, 50, 50)


def test_unreadable_stop_file_ends_nothing(tmp_path, capfd):
    """A file system may refuse to tell whether a file is there: here its path is too long."""
    paths = RunPaths(tmp_path / ("a" * 300))
    Deadline(paths, end_time=1000.0, margin_s=15.0).look(900.0, PID)
    Deadline(paths, end_time=1000.0, margin_s=15.0).note_end(900.0)

    assert first_request(capfd.readouterr().out) is None


def test_no_request_is_not_said(tmp_path, capfd):
    Deadline(RunPaths(tmp_path), end_time=1000.0, margin_s=15.0).note_end(900.0)

    assert first_request(capfd.readouterr().out) is None
