"""How long does the hpcdl command take to start, beside the least that Python and its libraries would take?"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from measure import in_turn, show, show_machine

CHECKOUT = Path(__file__).resolve().parents[1]
HPCDL = [str(Path(sys.executable).with_name("hpcdl"))]
RENDER = ["render", "jobs/mnist_script.yaml", "--cluster", "marenostrum5", "--set", "cluster.account=nct00"]
FILES_GOAL = 250

# Without strace: what Python itself opens, in the process that renders.
COUNT_OPENS = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" else None)
from hpcdl.cli import main
main(sys.argv[1:])
print(len(opened), file=sys.stderr)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=30, help="how often each is run, in turn (default: 30)")
    pairs = parser.parse_args().pairs
    show_machine()
    for clock in (wall, cpu):
        compare = partial(in_turn, pairs=pairs)
        name = clock.__name__
        ours, bare = compare(partial(clock, [*HPCDL, "--help"]), partial(clock, python("pass")))
        show(f"hpcdl --help / python -c pass, {name}", ours, bare, goal=6)
        ours, bare = compare(partial(clock, [*HPCDL, *RENDER]), partial(clock, python("import jinja2, yaml")))
        show(f"hpcdl render / import jinja2, yaml, {name}", ours, bare, goal=2)
    how, count = files_opened()
    print(f"files opened by hpcdl render ({how}): {count}   goal <= {FILES_GOAL}")
    show_machine()


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def wall(argv: Sequence[str]) -> float:
    """Seconds that a person waits."""
    started = time.perf_counter()
    run(argv)
    return time.perf_counter() - started


def cpu(argv: Sequence[str]) -> float:
    """Seconds of processor time: less disturbed by what else runs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(argv)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=CHECKOUT, check=True, capture_output=True, text=True)


def files_opened() -> tuple[str, int]:
    """How many opens succeed in one render: all of the process's by strace, else those Python tells of."""
    if not shutil.which("strace"):
        return "told by Python", int(run([*python(COUNT_OPENS), *RENDER]).stderr)
    with tempfile.NamedTemporaryFile("r") as log:
        run(["strace", "-f", "-o", log.name, "-e", "trace=open,openat", *HPCDL, *RENDER])
        return "counted by strace", sum("open" in line and "= -1" not in line for line in log)


if __name__ == "__main__":
    main()
