"""Which cause the end of a script's output shows: the last traceback decides, not a word somewhere before it."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hpcdl.run.causes import Ending, of_ending, slurm_state_of_words
from hpcdl.run.hints import HINTS, hint
from hpcdl.run.tracebacks import last_traceback, last_words

OUTPUTS = Path(__file__).with_name("outputs")  # of the real TensorFlow 2.21
BARS = Path(__file__).parents[1] / "launch" / "outputs"
CUINIT = "E external/xla: failed call to cuInit: UNKNOWN ERROR (303)"
CUINIT_221 = (
    "E0000 00:00:1795846795.808067   30766 cuda_platform.cc:52] failed call to cuInit: "
    "INTERNAL: CUDA error: Failed call to cuInit: UNKNOWN ERROR (303)"
)
NO_DEVICE = "E tensorflow/cuda_driver.cc:265] failed call to cuInit: CUDA_ERROR_NO_DEVICE: no GPU is detected"
HEADER = "import sys, traceback\ndef err(text): print(text, file=sys.stderr)\n"
HANDLED = "try:\n    raise MemoryError\nexcept MemoryError:\n    traceback.print_exc()\n"

# What a script does, and the cause. Each is run by a real Python, and ends with status 1.
PROGRAMS = {
    "cuinit-then-missing-file": (f"err({CUINIT!r})\nopen('nothing.csv')", "user_code"),
    "cuinit-of-2.21": (f"err({CUINIT_221!r})\nopen('nothing.csv')", "user_code"),
    "no-device-then-key": (f"err({NO_DEVICE!r})\n{{}}['x']", "user_code"),
    "memory": ("raise MemoryError", "out_of_memory"),
    "memory-of-its-own": ("class ArrayMemoryError(MemoryError): pass\nraise ArrayMemoryError('8')", "out_of_memory"),
    "memory-handled-then-key": (f"{HANDLED}{{}}['x']", "user_code"),
    "memory-handled-then-exit": (f"{HANDLED}print('falls back')\nsys.exit(1)", "user_code"),
    "memory-handled-then-words": (f"{HANDLED}sys.exit('no weights')", "user_code"),
    "warning-then-assert": ("err('fork: Cannot allocate memory')\nassert 1 == 2, 'accuracy'", "user_code"),
    "errno-12": ("raise OSError(12, 'Cannot allocate memory')", "out_of_memory"),
    "errno-12-handled": ("err('[Errno 12] Cannot allocate memory, again')\nraise SystemExit('no data')", "user_code"),
    "during-handling": ("try:\n    raise MemoryError\nexcept MemoryError:\n    undefined", "user_code"),
    "raised-from": (
        "try:\n    raise MemoryError\nexcept MemoryError as e:\n    raise RuntimeError('failed') from e",
        "out_of_memory",
    ),
    "key-raised-from": ("try:\n    {}['x']\nexcept KeyError as e:\n    raise ValueError('no') from e", "user_code"),
    "word-in-an-assert": ("assert False, 'OOM when allocating is no test'", "user_code"),
    "word-in-a-value-error": ("raise ValueError('CUDA_ERROR_OUT_OF_MEMORY is not a metric')", "user_code"),
    "cuda-memory": ("raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')", "out_of_memory"),
    "gpu-failed": ("raise RuntimeError('CUDA_ERROR_ECC_UNCORRECTABLE')", "device"),
    "interrupted": (f"err({CUINIT!r})\nprint('x')\ntry:\n    raise KeyboardInterrupt\nexcept BaseException:\n"
                    "    traceback.print_exc()\nsys.exit(1)", "user_code"),
    "bar-behind": ("import atexit\natexit.register(lambda: err('\\r 10%|#  | 1/9 [00:01<00:09]'))\n"
                   "raise MemoryError", "out_of_memory"),
    "ignored-behind": ("class A:\n    def __del__(self): raise KeyError('x')\na = A()\nraise MemoryError",
                       "out_of_memory"),
    "ignored-memory": ("class A:\n    def __del__(self): raise MemoryError\na = A()\nraise KeyError('x')", "user_code"),
    "logged": ("import logging\ntry:\n    raise MemoryError\nexcept MemoryError:\n    logging.exception('no')\n"
               "err('goes on')\nopen('nothing.csv')", "user_code"),
    "syntax": (HANDLED + "exec('a b')", "user_code"),
}  # fmt: skip
GROUPS = {
    "group": ("raise ExceptionGroup('two', [KeyError('x'), ValueError('y')])", "user_code"),
    "group-of-memory": ("raise ExceptionGroup('one', [MemoryError('8 GiB')])", "out_of_memory"),
    "group-of-both": ("raise ExceptionGroup('two', [MemoryError(), KeyError('x')])", "user_code"),
    "group-within": (
        "raise ExceptionGroup('a', [ExceptionGroup('b', [MemoryError('8')])])",
        "out_of_memory",
    ),
    "group-after-memory": (f"{HANDLED}raise ExceptionGroup('one', [KeyError('x')])", "user_code"),
}


def printed(program: str) -> tuple[int, str]:
    """The exit status and the output of a script."""
    argv = [sys.executable, "-u", "-c", HEADER + program]
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=180
    )
    return done.returncode, done.stdout


@pytest.mark.cases("C12")
@pytest.mark.parametrize("name", PROGRAMS)
def test_last_traceback_is_the_cause(name):
    program, cause = PROGRAMS[name]
    status, log = printed(program)
    assert of_ending(Ending(status, script=True, log=log)).cause == cause, log


@pytest.mark.cases("C12")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="this Python has no exception groups")
@pytest.mark.parametrize("name", GROUPS)
def test_exception_group_has_cause_of_members(name):
    program, cause = GROUPS[name]
    status, log = printed(program)
    assert last_traceback(log) is not None
    assert of_ending(Ending(status, script=True, log=log)).cause == cause, log


@pytest.mark.cases("C12")
@pytest.mark.parametrize(
    ("path", "cause"),
    [
        (OUTPUTS / "tf-oom-uncaught.log", "out_of_memory"),
        (OUTPUTS / "tf-oom-handled.log", "user_code"),
        (OUTPUTS / "tf-oom-gave-up.log", "user_code"),
        (BARS / "keras3.err", "user_code"),
        (BARS / "keras2.err", "user_code"),
        (BARS / "tqdm.err", "out_of_memory"),
    ],
    ids=lambda value: getattr(value, "stem", value),
)
def test_real_logs_show_their_cause(path, cause):
    log = path.read_text()
    for gpus in (0, 1):
        assert of_ending(Ending(1, script=True, log=log, gpus=gpus)).cause == cause


@pytest.mark.cases("C12")
@pytest.mark.parametrize(
    ("log", "cause"),
    [
        ("RuntimeError: CUDA_ERROR_NO_DEVICE", "user_code"),
        ("Traceback (most recent call last):\n  File \"a\", line 1\nRuntimeError: CUDA_ERROR_NO_DEVICE", "user_code"),
        (f"{CUINIT}\n", "user_code"),
    ],
)  # fmt: skip
def test_missing_device_without_gpus_is_harmless(log, cause):
    """In a job without GPUs CUDA's message that it found no device is not the cause."""
    assert of_ending(Ending(1, script=True, log=log, gpus=0)).cause == cause


@pytest.mark.cases("fault 5")
@pytest.mark.parametrize(
    ("oom_kills", "cause"), [(1, "out_of_memory"), (0, "user_code"), (None, "user_code")]
)
def test_child_killed_for_memory(oom_kills, cause):
    """A script whose subprocess the kernel killed, and that then ends by itself with an error."""
    outcome = of_ending(
        Ending(1, script=True, log="CalledProcessError: died with SIGKILL", oom_kills=oom_kills)
    )
    assert outcome.cause == cause
    assert ("killed one of its processes for memory" in str(outcome.message)) == bool(oom_kills)


@pytest.mark.parametrize(
    ("status", "log", "cause"),
    [
        (1, "loading\nbash: fork: retry: Cannot allocate memory\n", "out_of_memory"),
        (1, "bash: fork: retry: Cannot allocate memory\nthen something else\n", "user_code"),
        (-signal.SIGABRT, "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  x\n",
         "out_of_memory"),
        (128 + signal.SIGABRT, "terminate called after throwing an instance of 'std::logic_error'\n", "user_code"),
        (255, "FATAL:   could not open image /i.sif\n", "spec"),
        (255, "FATAL: my own word\n", "user_code"),
        (255, "FATAL:   one\na\nb\nc\nd\ne\nf\n", "user_code"),
    ],
)  # fmt: skip
def test_endings_of_other_programs(status, log, cause):
    assert of_ending(Ending(status, script=True, log=log)).cause == cause


def test_last_words_of_log():
    assert last_words(printed("open('nothing.csv')")[1]).startswith("FileNotFoundError: [Errno 2]")
    assert last_words(printed(f"{HANDLED}sys.exit('no weights')")[1]) == "no weights"
    assert last_words((BARS / "tqdm.err").read_text()) == "MemoryError"
    assert last_words("\n") == ""


def test_stalled_training_runs_again():
    ended = Ending(-9, oom_kills=0, stalled="no progress for 301 s (training; limit 300 s)")
    outcome = of_ending(ended)
    assert (outcome.state, outcome.cause) == ("stalled", "stall")
    assert "stood still, and was ended: no progress for 301 s" in str(outcome.message)
    assert of_ending(replace(ended, status=0)).state == "done"  # it was faster


@pytest.mark.cases("F18")
@pytest.mark.parametrize("cause", HINTS)
def test_advice_fits_scripts(cause):
    """hpcdl keeps no checkpoints for a script, and knows no batch size of it."""
    advice = hint(cause, script=True) or ""
    assert advice
    assert "checkpoint" not in advice
    assert "train.batch_size" not in advice
    assert hint(cause, script=False) == HINTS[cause]


@pytest.mark.cases("F18")
def test_advice_at_the_time_limit():
    advice = hint("time_limit", script=True) or ""
    assert "SaveAndStop" in advice
    assert "HPCDL_STOP_FILE" in advice
    assert "--set resources.time=" in advice


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-28T05:03:44 ***", "CANCELLED"),
        (
            "slurmstepd: error: *** STEP 7.batch ON n1 CANCELLED AT 2026-11-28T05:03:44 ***",
            "CANCELLED",
        ),
        ("slurmstepd: error: *** STEP 7.0 ON n1 CANCELLED AT 2026-11-28T05:03:44 ***", None),
        ("*** STEP 7.0 ON n1 CANCELLED AT 2026-11-28T05:03:44 DUE TO TIME LIMIT ***", "TIMEOUT"),
    ],
)
def test_end_of_a_step_is_not_the_jobs(line, state):
    """Srun's step on several nodes ends when one of its workers does, and the job goes on."""
    assert slurm_state_of_words(f"attempt 1 of x\n{line}\n") == state
