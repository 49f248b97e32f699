"""A script's own signal on this machine: once, to the script alone, and not before it has a handler."""

from __future__ import annotations

HANDLES_LATE = """
import os, signal, sys, time
print("attempt", os.environ["HPCDL_ATTEMPT"], flush=True)
if os.environ["HPCDL_ATTEMPT"] == "2":
    sys.exit(0)
while not os.path.exists(os.environ["HPCDL_STOP_FILE"]):
    time.sleep(0.02)
time.sleep(1.5)  # launch looks every second
seen = []
signal.signal(signal.SIGUSR2, lambda number, frame: seen.append(number))
while not seen:
    time.sleep(0.02)
end = time.monotonic() + 1.5
while time.monotonic() < end:
    time.sleep(0.02)
print("signals", len(seen), flush=True)
sys.exit(75)
"""
NO_HANDLER = """
import os, time
print("begun", flush=True)
stop = os.environ["HPCDL_STOP_FILE"]
while not os.path.exists(stop):
    time.sleep(0.02)
time.sleep(2.5)
print("still there")
"""


def test_stop_signal_waits_for_handler(machine):
    """The stop signal is sent once, and only after the script has installed its handler."""
    run = machine.submit(HANDLES_LATE, stop_signal="USR2")
    run.until_log("attempt 1")
    (run.path / "stop").touch()
    machine.hpcdl("wait", run.path)

    assert (run.log(1), run.log(2)) == ("attempt 1\nsignals 1\n", "attempt 2\n")
    assert [row["status"] for row in run.json("result.json")["attempts"]] == [75, 0]


def test_script_without_handler_survives(machine):
    run = machine.submit(NO_HANDLER, stop_signal="USR2")
    run.until_log("begun")
    (run.path / "stop").touch()
    machine.hpcdl("wait", run.path)

    assert run.log() == "begun\nstill there\n"
    assert run.json("result.json")["state"] == "done"
