"""A script job of the test bed: some short epochs that go on where they were stopped.

With ``--held N`` the first N trials wait after their first epoch, in their first attempt, for a
file ``go`` in their folder: however busy the machine is, they are seen training together.
"""

import json
import os
import sys
import time
from pathlib import Path

options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
rate, epochs = float(options["--rate"]), int(options["--epochs"])
epoch_s = float(options.get("--seconds", 0.5))
stop, metrics = Path(os.environ["HPCDL_STOP_FILE"]), Path(os.environ["HPCDL_METRICS_FILE"])
held = int(options.get("--held", 0))
is_held = os.environ["HPCDL_ATTEMPT"] == "1" and held and int(metrics.parent.name) < held
go = metrics.with_name("go")
done = len(metrics.read_text().splitlines()) if metrics.exists() else 0
for epoch in range(done + 1, epochs + 1):
    until = time.monotonic() + epoch_s
    while time.monotonic() < until or (is_held and epoch == 2 and not go.exists()):
        if stop.exists():
            print("stopped before epoch", epoch, flush=True)
            sys.exit(75)
        time.sleep(0.05)
    with metrics.open("a") as lines:
        lines.write(json.dumps({"epoch": epoch, "score": rate * epoch}) + "\n")
    print("epoch", epoch, flush=True)
