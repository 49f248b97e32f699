"""How long does `export: [serving, tflite, int8]` of mnist_cnn make a run, beside one import of TensorFlow?

python benchmarks/export.py /path/to/mnist.npz
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from hpcdl.contract.spec import (
    CnnSpec,
    DataSpec,
    DeviceSpec,
    OptimizerSpec,
    RunSpec,
    TrainSpec,
)

KINDS = ["serving", "tflite", "int8"]


def main() -> None:
    """Train one epoch, export, and print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mnist", help="mnist.npz")
    path = str(Path(parser.parse_args().mnist).absolute())
    optimizer = OptimizerSpec(name="sgd", learning_rate=0.01)
    run = RunSpec(
        name="mnist-cnn",
        data=DataSpec(path=path),
        model=CnnSpec(filters=[32, 64], kernel_size=5),
        train=TrainSpec(epochs=1, batch_size=100, optimizer=optimizer),
        devices=DeviceSpec(),
        hpcdl_version="0",
        export=KINDS,
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "run.json")
        file.write_text(run.to_json())
        argv = [sys.executable, "-m", "hpcdl.trainer", str(file)]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        result = json.loads(Path(folder, "result.json").read_text())
    timing = result["timing"]
    print(f"import of TensorFlow {timing['import_s']:.1f} s, export {timing['export_s']:.1f} s")
    for row in result["export"]:
        print(f"  {row['kind']:<8} {row['seconds']:.1f} s")


if __name__ == "__main__":
    main()
