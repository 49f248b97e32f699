"""What does it cost that worker 0 says when to stop, when to save and how many steps to do?

Two workers of the trainer train together on this machine, as on two nodes. Before and after each
call of steps all of them ask worker 0. Whoever comes first waits for the other, as it would have in
the next step anyway: so a word costs what the last one to come needed. On a busy machine only the
processor time says anything: both workers must get a CPU for a word to pass.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fit import CHECKOUT, command
from measure import show_machine

from hpcdl.cluster import load_cluster
from hpcdl.contract.spec import DataSpec
from hpcdl.contract.workers import to_tf_config
from hpcdl.job import load_job
from hpcdl.submission.locate import run_spec

TIMED = Path(__file__).with_name("timed_trainer.py")
GOAL_PERCENT = 1.0
WORKERS = 2
EXAMPLES = """examples:
  python benchmarks/first_says.py --data mnist.npz
  python benchmarks/first_says.py --data mnist.npz --image tf2.11-py39.sif --job mnist_mlp --epochs 4
"""


@dataclass
class Call:
    """One call of steps, and the words of worker 0 after it: seconds of each worker.

    words_s: elapsed. processor_s: of the words and of the call, all workers together.
    """

    steps_s: list[float]
    words_s: list[list[float]]
    processor_s: list[float]

    @property
    def word_s(self) -> float:
        """What the words cost: the worker that comes last does not wait."""
        return sum(min(each) for each in self.words_s)

    @property
    def with_waiting_s(self) -> float:
        """The same with the waiting for each other, a mean over the workers."""
        return sum(statistics.mean(each) for each in self.words_s)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="mnist.npz")
    parser.add_argument("--image", type=Path, help="train in this image, not with this Python")
    parser.add_argument(
        "--job", default="mnist_cnn", choices=["mnist_cnn", "mnist_mlp"], help="default: mnist_cnn"
    )
    parser.add_argument(
        "--epochs", type=int, default=3, help="the first is not counted (default: 3)"
    )
    options = parser.parse_args()
    if options.epochs < 2:
        parser.error("--epochs: at least 2, for the first one is not counted")
    show_machine()
    with tempfile.TemporaryDirectory(prefix="hpcdl-first-says-") as name:
        calls = train_together(Path(name), options)
    show_calls(calls)
    show_machine()


def train_together(folder: Path, options: argparse.Namespace) -> list[Call]:
    """Train with two workers; the calls after the first epoch."""
    data = options.data.resolve()
    sets = [f"train.epochs={options.epochs}", "resources.gpus=0"]
    job = load_job(CHECKOUT / "jobs" / f"{options.job}.yaml", sets)
    spec = run_spec(job, load_cluster("local"))
    assert spec is not None
    spec.data = DataSpec(path=str(data))
    (folder / "run.json").write_text(spec.to_json())
    python = command(options.image, [folder, CHECKOUT, data.parent])
    held = [held_port() for _ in range(WORKERS)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in held]
    processes, results = [], []
    for rank in range(WORKERS):
        result = folder / f"{rank}.times"
        variables = {
            "TF_CONFIG": to_tf_config(addresses, rank),
            "TF_GRPC_REUSE_PORT": "1",
            "no_grpc_proxy": "127.0.0.1",
        }
        argv = [*with_variables(python, variables), str(TIMED), str(result)]
        log = (folder / f"{rank}.log").open("wb")
        processes.append(
            subprocess.Popen([*argv, str(folder / "run.json")], stdout=log, stderr=log)
        )
        results.append(result)
    statuses = [process.wait() for process in processes]
    if any(statuses):
        logs = [(folder / f"{rank}.log").read_text()[-2000:] for rank in range(WORKERS)]
        sys.exit(f"the workers ended with {statuses}\n" + "\n".join(logs))
    first_line = (folder / "metrics.jsonl").read_text().splitlines()[0]
    return calls_of(
        [json.loads(result.read_text()) for result in results], json.loads(first_line)["steps"]
    )


def with_variables(python: list[str], variables: dict[str, str]) -> list[str]:
    """A command of `fit.command` with more variables: they come after its own `env`."""
    place = len(python) - 1 - python[::-1].index("env")
    pairs = [f"{name}={value}" for name, value in variables.items()]
    return [*python[: place + 1], *pairs, *python[place + 1 :]]


def held_port() -> socket.socket:
    """A socket on a free port, which TensorFlow may share."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind(("127.0.0.1", 0))
    return held


def calls_of(of_workers: list[list[Any]], steps_per_epoch: int) -> list[Call]:
    """The calls of all epochs after the first, without the last call: the test comes after it."""
    calls: list[Call] = []
    for events in zip(*of_workers, strict=True):  # what all do together comes in the same order
        what, *_, step = events[0]
        seconds = [event[1] for event in events]
        processor_s = sum(event[2] for event in events)
        if what == "call" and step >= steps_per_epoch:
            calls.append(Call(seconds, [], [0.0, processor_s]))
        elif what == "says" and calls:
            calls[-1].words_s.append(seconds)
            calls[-1].processor_s[0] += processor_s
    return calls[:-1]


def show_calls(calls: list[Call]) -> None:
    """The share of the words in what the calls took."""
    steps_s = sum(statistics.mean(call.steps_s) for call in calls)
    call_s = statistics.median(statistics.mean(call.steps_s) for call in calls)
    print(f"{len(calls)} calls after the first epoch, the median one {call_s:.2f} s")
    words = [min(each) for call in calls for each in call.words_s]
    print(f"a word of worker 0: {1000 * statistics.median(words):.2f} ms (median of {len(words)})")
    for what, spent_s, goal in (
        ("words", sum(call.word_s for call in calls), f"   goal <= {GOAL_PERCENT:g} %"),
        ("words, with waiting", sum(call.with_waiting_s for call in calls), ""),
    ):
        print(f"{what:<20} {100 * spent_s / (steps_s + spent_s):.2f} % of the calls{goal}")
    words_s, calls_s = (sum(call.processor_s[part] for call in calls) for part in (0, 1))
    share = 100 * words_s / (words_s + calls_s)
    milliseconds = 1000 * words_s / len(words) / WORKERS
    print(
        f"words, processor     {share:.2f} % of the calls, {milliseconds:.2f} ms a word and worker"
    )


if __name__ == "__main__":
    main()
