"""``python -m hpcdl.trainer RUN_JSON``: faults become text, failure.json and an exit status.

``predict PREDICT_JSON`` in place of RUN_JSON predicts the images of a folder. ``--serve`` there
forks trainers on request: see `hpcdl.trainer.serve`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import platform
import signal
import socket
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Callable, Dict, List, Tuple

from hpcdl.contract.checks import check_fit, check_spec
from hpcdl.contract.errors import (
    DeviceError,
    InternalError,
    OutOfMemory,
    Stopped,
    TrainingError,
    UserCodeError,
)
from hpcdl.contract.machine import cpus
from hpcdl.contract.predict_spec import PredictSpec
from hpcdl.contract.probe import VARIABLE as PROBE
from hpcdl.contract.spec import (
    EXIT_DONE,
    EXIT_INTERNAL,
    EXIT_SPEC,
    EXIT_STOPPED,
    RunSpec,
    SpecError,
)
from hpcdl.contract.version import __version__
from hpcdl.contract.workers import read_workers
from hpcdl.trainer.files.retry import keep_trying
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.runtime.log import (
    be_patient,
    quiet_import,
    say,
    separate_noise,
    show_stacks_on_request,
)
from hpcdl.trainer.runtime.peers import peer_lost

if TYPE_CHECKING:
    from hpcdl.trainer.runtime.devices import Devices


def main(argv: List[str]) -> int:
    """Do the run described by a run.json.

    Args:
        argv: the path of run.json, alone; or a word of `_TASKS` and the path of its file. The
            file's folder is the run folder.

    Returns:
        the exit status, one of `hpcdl.contract.exit_status`.
    """
    do: Callable[[RunDir], None] = _run
    if len(argv) == 2 and argv[0] in _TASKS:
        do = _TASKS[argv[0]]
        argv = argv[1:]
    if len(argv) != 1 or not os.path.isdir(os.path.dirname(os.path.abspath(argv[0]))):
        print(
            "usage: python -m hpcdl.trainer [predict] FILE (in an existing folder); got {}".format(
                argv
            ),
            file=sys.stderr,
        )
        return EXIT_SPEC
    attempt = os.environ.get("HPCDL_ATTEMPT", "1")
    if os.environ.get("HPCDL_LIFELINE") == "stdin":
        threading.Thread(target=_end_with_launch, name="lifeline", daemon=True).start()
    number = int(attempt) if attempt.isdigit() else 1
    stop_file = os.environ.get("HPCDL_STOP_FILE")
    try:
        workers = read_workers(os.environ)
        if workers.count > 1 and do is not _run:
            raise DeviceError("only a training runs on several nodes", "set resources.nodes: 1")
    except DeviceError as error:
        return _fail(RunDir(argv[0], number, stop_file), error)
    run_dir = RunDir(argv[0], number, stop_file, workers.rank)
    if run_dir.finished():
        with contextlib.suppress(OSError):
            run_dir.tidy()
        say("this run is already done: {}".format(run_dir.path("result.json")))
        return EXIT_DONE
    try:
        keep_trying("the log", lambda: separate_noise(run_dir.noise_log))
        keep_trying("the run folder", run_dir.tidy)
        run_dir.heartbeat(phase="starting")
        show_stacks_on_request()
        _say_hello(run_dir)
        do(run_dir)
    except Stopped as stopped:
        say(stopped.message)
        return EXIT_STOPPED
    except Exception as error:  # the one place where faults become text and an exit status
        return _fail(run_dir, error)
    return EXIT_DONE


def _say_hello(run_dir: RunDir) -> None:
    say(
        "hpcdl {}  python {}  host {}  {} CPUs  attempt {}".format(
            __version__, platform.python_version(), socket.gethostname(), cpus(), run_dir.attempt
        )
    )


def _run(run_dir: RunDir) -> None:
    """Do the run: read its spec, load its data set, and train."""
    run = RunSpec.from_json(_text(run_dir.run_json))
    check_spec(run)
    if os.environ.get(PROBE) == "1":
        from hpcdl.trainer.probe import probe

        probe(run, run_dir)
        return
    run_dir.heartbeat(phase="loading")
    from hpcdl.trainer.dataset import load  # numpy, which the checks above do without

    timing: Dict[str, float] = {}
    path = run_dir.shared(str(run.data.path))
    devices = None
    # Workers meet before they read: how long that takes may differ by node
    if read_workers(os.environ).count > 1 or load.starts_tensorflow(path, run.data):
        devices = _take_devices(run, run_dir, timing)
        run_dir.heartbeat(phase="loading")
    started = time.perf_counter()
    dataset = load.load(path, run.data)
    timing["data_s"] = time.perf_counter() - started
    say(load.describe(dataset))
    check_fit(run, dataset.image_shape)
    # The import of TensorFlow takes seconds: a fault of the data set is said before it
    if devices is None:
        devices = _take_devices(run, run_dir, timing)
    from hpcdl.trainer.training import train_and_evaluate

    train_and_evaluate(run, run_dir, dataset, devices, timing)


def _take_devices(run: RunSpec, run_dir: RunDir, timing: Dict[str, float]) -> Devices:
    """Import TensorFlow, and take the devices of the run."""
    started = time.perf_counter()
    with quiet_import():
        from hpcdl.trainer import training  # noqa: F401 - all that a training needs is timed here
        from hpcdl.trainer.stages.devices import take_devices
    timing["import_s"] = time.perf_counter() - started
    return take_devices(run, run_dir)


def _predict(run_dir: RunDir) -> None:
    """Predict the images of a folder."""
    spec = PredictSpec.from_json(_text(run_dir.run_json))
    from hpcdl.trainer.predict.run import predict

    predict(spec, run_dir)


_TASKS: Dict[str, Callable[[RunDir], None]] = {"predict": _predict}


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError("{}: cannot be read: {}".format(path, error)) from error


def _fail(run_dir: RunDir, error: Exception) -> int:
    """Show a fault in the log and in failure.json; returns the exit status."""
    exit_status, kind, message, hint = _explain(error, run_dir)
    sys.stdout.flush()
    if kind == "internal" or (isinstance(error, UserCodeError) and error.__cause__):
        traceback.print_exception(type(error), error, error.__traceback__)
    print("error: {}".format(message), file=sys.stderr, flush=True)
    if hint:
        print("hint: {}".format(hint), file=sys.stderr, flush=True)
    try:
        run_dir.write_failure(exit_status, kind, message, hint)
    except OSError as problem:  # a full disk may be the fault itself
        print("failure.json cannot be written: {}".format(problem), file=sys.stderr, flush=True)
    return exit_status


def _explain(error: Exception, run_dir: RunDir) -> Tuple[int, str, str, str]:
    """The exit status, the kind, the message and the hint of a fault."""
    if isinstance(error, SpecError):
        return EXIT_SPEC, "spec", str(error), ""
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        first_line = "".join(str(error).strip().splitlines()[:1])
        error = OutOfMemory(
            "out of memory: {}".format(first_line), "try a smaller train.batch_size"
        )
    if isinstance(error, ImportError) and "Keras cannot be imported" in str(error):
        error = _keras_is_missing(error)
    if isinstance(error, TrainingError):
        return error.exit_status, error.kind, error.message, error.hint
    lost = peer_lost(error)
    if lost is not None:
        return lost.exit_status, lost.kind, lost.message, lost.hint
    message = "{}: {}".format(type(error).__name__, error)
    hint = "TensorFlow's own messages are in {}".format(run_dir.noise_log)
    return EXIT_INTERNAL, "internal", message, hint


def _keras_is_missing(error: ImportError) -> Exception:
    """Why TensorFlow has no Keras: most often a variable asks for a package that is missing."""
    variable = os.environ.get("TF_USE_LEGACY_KERAS")
    if variable is None:
        return error
    return InternalError(
        "TF_USE_LEGACY_KERAS={} asks for tf-keras, which cannot be imported".format(variable),
        "name tf-keras, of TensorFlow's own version, in a requirements file (packages:), "
        "or take the variable out",
    )


def _end_with_launch() -> None:
    """End when launch does: another trainer may then go on with this run.

    Launch holds the other end of stdin. In a container the trainer is not its child any more, and
    does not notice the end otherwise.
    """
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    be_patient()
    arguments = sys.argv[1:]
    if arguments == ["--serve"]:
        from hpcdl.trainer.serve import serve

        arguments = serve()  # from here on this is a forked trainer
    status = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    atexit._run_exitfuncs()
    # Python needs seconds to take TensorFlow apart, and the time limit may be near.
    os._exit(status)
