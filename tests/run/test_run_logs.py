"""Which lines of a run's logs are shown: those that tell why it ended."""

from __future__ import annotations

import pytest

from hpcdl.run.logs import slurms_words, tail, telling_lines
from hpcdl.run.paths import RunPaths

TRACEBACK = """Epoch 1/5
Traceback (most recent call last):
  File "/w/train.py", line 3, in <module>
    main()
ValueError: shapes do not fit
"""


@pytest.fixture
def paths(tmp_path):
    made = RunPaths(tmp_path)
    made.logs.mkdir()
    return made


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TRACEBACK, [(5, "ValueError: shapes do not fit")]),
        ("one\ntwo\n\nthree\nfour\n", [(2, "two"), (4, "three"), (5, "four")]),
        (
            "a\nFATAL:   could not open image /i.sif\nb\n",
            [(2, "FATAL:   could not open image /i.sif")],
        ),
        (
            "x\n/bin/sh: line 1: 77 Killed   python a.py\ny\nz\n",
            [(2, "/bin/sh: line 1: 77 Killed   python a.py")],
        ),
        (
            "error: no such set\nhint: stage it\n",
            [(1, "error: no such set"), (2, "hint: stage it")],
        ),
        (" 10%|#  |\r 20%|## |\r\nlast\n", [(1, "20%|## |"), (2, "last")]),
        (
            "the error rate fell\nmemory is fine\n",
            [(1, "the error rate fell"), (2, "memory is fine")],
        ),
    ],
)
def test_telling_lines_are_found(paths, text, told):
    paths.log(1).write_text(text)
    lines = telling_lines(paths)
    assert [(line["line"], line["text"]) for line in lines] == told
    assert {line["file"] for line in lines} == {"logs/1.log"}


def test_last_log_before_batch_log(paths):
    """The log of the last attempt comes first; without one the batch script's log is read."""
    assert telling_lines(paths) == []
    (paths.logs / "slurm-12.out").write_text(
        "slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT x DUE TO TIME LIMIT ***\n"
    )
    assert [line["file"] for line in telling_lines(paths)] == ["logs/slurm-12.out"]
    for attempt in (1, 2, 10):
        paths.log(attempt).write_text(f"KeyError: {attempt}\n")
    assert [line["file"] for line in telling_lines(paths)] == ["logs/10.log", "logs/slurm-12.out"]
    assert telling_lines(paths)[0]["text"] == "KeyError: 10"


@pytest.mark.cases("fault 7")
@pytest.mark.parametrize(
    "begin",
    ["slurmstepd: error:", "slurmstepd-n1: error:", "[2026-11-28T05:03:44.185] error:"],
    ids=["22.05", "24.11", "26.05"],
)
def test_slurmstepd_messages_are_found(paths, begin):
    words = f"{begin} task_p_pre_launch: Using sched_affinity for tasks"
    (paths.logs / "slurm-12.out").write_text(f"attempt 1 of a\n{words}\none\ntwo\nthree\nfour\n")
    assert [line["text"] for line in telling_lines(paths)] == [words]


def test_long_log_keeps_its_numbers(paths):
    paths.log(1).write_text(
        "".join(f"step {n} of many, all is well so far\n" for n in range(1, 20_001)) + TRACEBACK
    )
    assert telling_lines(paths) == [
        {"file": "logs/1.log", "line": 20_005, "text": "ValueError: shapes do not fit"}
    ]
    assert tail(paths.log(1)).endswith("ValueError: shapes do not fit")
    assert len(tail(paths.log(1))) < 200_000


def test_slurm_messages_of_last_attempt(paths):
    (paths.logs / "slurm-12.out").write_text(
        "attempt 1 of /r on n1\nerror: *** JOB 12 ON n1 CANCELLED AT x DUE TO PREEMPTION ***\n"
        "attempt 2 of /r on n2\nhello\nattempt 2 ended: terminated, exit status 143\n"
    )
    words = "attempt 2 of /r on n2\nhello\nattempt 2 ended: terminated, exit status 143"
    assert slurms_words(paths, "12") == words
    assert slurms_words(paths, "13") == ""
