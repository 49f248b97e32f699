"""What does the sampling of a run's GPUs, CPUs and memory cost, in percent of one core?

The run has a program with 200 threads and 8 children, and a stand-in for nvidia-smi with 8 GPUs.
Processor time is measured, so other work on the machine does little harm. It ends with 1 if it
is above its goal.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import show_machine

from hpcdl.launch.gpu_reader import GpuReader
from hpcdl.launch.sampler import EVERY_S, Sampled, Sampler
from hpcdl.run.sample_file import SampleFile

GOAL_PERCENT = 0.5
EXAMPLE = """example:
  python benchmarks/sampling.py
"""
# A program with as many threads as TensorFlow has on a large node
PROGRAM = """
import subprocess, sys, threading, time
for _ in range(200): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
for _ in range(8): subprocess.Popen(["sleep", "600"])
print(flush=True)
time.sleep(600)
"""
SMI = """#!/bin/sh
while :; do
for n in 0 1 2 3 4 5 6 7; do
echo "$n, GPU-$n, NVIDIA H100, 97, 70213, 81559, 412.31, 700.00, 0, 0x4"
done
sleep 0.02
done
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=200, help="default: 200")
    options = parser.parse_args()
    show_machine()
    argv = [sys.executable, "-c", PROGRAM]
    with tempfile.TemporaryDirectory() as folder:
        smi = Path(folder) / "nvidia-smi"
        smi.write_text(SMI)
        smi.chmod(0o755)
        os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)
        try:
            assert child.stdout is not None
            child.stdout.readline()
            cost_s = measured(Path(folder) / "devices.jsonl", child.pid, options.samples)
        finally:
            os.killpg(child.pid, 9)
    percent = 100 * cost_s / EVERY_S
    print(f"{1000 * cost_s:.2f} ms of CPU for each sample and its 15 looks: {percent:.3f} %")
    print(f"of one core (goal: {GOAL_PERCENT} %); nvidia-smi itself is not in it")
    sys.exit(percent > GOAL_PERCENT)


def measured(path: Path, pid: int, samples: int) -> float:
    """CPU seconds of launch for one sample."""
    sampler = Sampler(SampleFile(path), Sampled(1, "n1"), GpuReader("nvidia", EVERY_S))
    start = time.process_time()
    for second in range(int(samples * EVERY_S)):
        sampler.look(1e9 + second, pid)
        if not second % 15:
            time.sleep(0.02)
    sampler.close()
    return (time.process_time() - start) / samples


if __name__ == "__main__":
    main()
