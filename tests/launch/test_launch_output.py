"""What becomes of a script's output: bars are thinned, TensorFlow's noise goes aside, nothing else is lost."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.launch import recorder
from hpcdl.launch.bars import Thinner
from hpcdl.launch.noise import NoiseFilter
from hpcdl.launch.recorder import Recorder
from hpcdl.run.paths import RunPaths

OUTPUTS = Path(__file__).with_name("outputs")  # recorded: Keras 2.11, Keras 3.15, tqdm 4.70
PIECES = st.sampled_from(
    [b"a", b"word ", b"\r", b"\b", b"\n", b"\r\n", b" 10%|#  | 1/9 [00:01<00:09]", b"12", b"\x1b[A", b"\x1b[1m", b" ",
     "é━".encode(), b"\0", b"\xff", b"x" * 9000, b"2026-11-28 06:20:00.109157: I tensorflow/core/util/port.cc:104] on",
     b"I0000 00:00:1795846779.762385   30617 port.cc:153] oneDNN", b"E0000 00:00:1795846779.", b"I1128 06:12:48.1234",
     b"To enable the following instructions: AVX2", b"INFO:    mounting"]
)  # fmt: skip


def thinned(*chunks: bytes) -> bytes:
    thinner = Thinner()
    out = [thinner.feed(chunk, 0.0) for chunk in chunks]
    return b"".join([*out, thinner.close()])


def split(*chunks: bytes) -> tuple[bytes, bytes]:
    """The text and the noise."""
    noise_filter, parts = NoiseFilter(), (bytearray(), bytearray())
    for chunk in chunks:
        for is_noise, part in noise_filter.feed(chunk):
            parts[is_noise].extend(part)
    for is_noise, part in noise_filter.flush():
        parts[is_noise].extend(part)
    return bytes(parts[0]), bytes(parts[1])


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Data in chunks of these sizes, again and again."""
    chunks = []
    position = index = 0
    while position < len(data):
        size = sizes[index % len(sizes)]
        chunks.append(data[position : position + size])
        position += size
        index += 1
    return chunks


@given(st.lists(PIECES, max_size=30), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_chunk_borders_change_no_output(pieces, sizes):
    """Wherever the kernel cuts the bytes into chunks, the logs are the same."""
    data = b"".join(pieces)
    assert thinned(*cut(data, sizes)) == thinned(data)
    assert split(*cut(data, sizes)) == split(data)


@given(st.lists(PIECES, max_size=30))
def test_no_text_is_lost(pieces):
    """Without bars all bytes come out at once; the noise filter loses none at all; a bar keeps its words."""
    data = b"".join(pieces)
    plain = data.replace(b"\r", b"").replace(b"\b", b"")
    assert Thinner().feed(plain, 0.0) == plain
    text, noise = split(data)
    assert sorted(text + noise) == sorted(data)
    if b"word" in data and b"\b" not in data:
        assert b"word" in thinned(data)


@pytest.mark.cases("F20")
@pytest.mark.parametrize("name", ["keras2.out", "keras3.out", "tqdm.err"])
def test_progress_bar_keeps_last_state(name):
    data = (OUTPUTS / name).read_bytes()
    text = thinned(data).decode()
    lines = text.splitlines()
    assert len(lines) < 20
    assert "\r" not in text
    assert "\b" not in text
    if name.startswith("keras"):
        assert sum("val_loss" in line for line in lines) == 2
        assert sum("batch six is over" in line for line in lines) == 2
        for line in (
            "Epoch 1/2",
            "epoch 0 over",
            "epoch 1 over",
            "after fit",
            "Test accuracy: 0.94",
        ):
            assert line in lines
    else:
        assert sum("100%" in line for line in lines) == 4
        assert lines[-1] == "MemoryError"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\r\nb\r\n", b"a\r\nb\r\n"),
        (b"step 1\rstep 2\rstep 30\n", b"step 1\nstep 30\n"),
        (b"Downloading\rDone\n", b"Downloading\nDone\n"),
        (b"\r 1%\r 2%", b" 2%\n"),
        (b"\r   \r\n", b"\n"),
        (b"no newline", b"no newline"),
        (b"wait |\b/\b-\b|\n", b"wait |\n"),
        (b"\r1/9 loss 0.1\r2/9 loss 0.2 val_loss 0.3\n", b"2/9 loss 0.2 val_loss 0.3\n"),
        (b"\rloss nan\rloss inf\rloss 0.5e-3\n", b"loss 0.5e-3\n"),
        (b"\r" + b"long " * 4000 + b"\rnext\n", b"long " * 4000 + b"\rnext\n"),
    ],
)
def test_overwritten_lines_are_thinned(data, text):
    assert thinned(data) == text


def test_moving_bar_shows_life():
    """Who watches a bar of hours sees a state of it now and then, and each only once."""
    thinner = Thinner(life_s=30.0)
    assert thinner.feed(b"\rat 1", 100.0) == b""
    assert thinner.feed(b"\rat 2", 129.0) == b""
    assert thinner.tick(130.0) == b"at 2\n"
    assert thinner.tick(170.0) == b""
    assert thinner.feed(b"\rat 3", 171.0) == b""
    assert thinner.tick(201.0) == b"at 3\n"
    assert thinner.feed(b"\n", 202.0) == b""


def test_many_states_need_no_memory():
    thinner = Thinner()
    for number in range(20_000):
        thinner.feed(b"\b" * 20 + b"\rstep %d of many" % number, 0.0)
    assert sum(len(value) for value in vars(thinner).values() if isinstance(value, bytes)) < 1000


@pytest.mark.cases("F20")
@pytest.mark.parametrize("name", ["keras2.err", "keras3.err"])
def test_tensorflow_noise_goes_to_own_log(name):
    text, noise = split((OUTPUTS / name).read_bytes())
    assert text.startswith(b"Traceback (most recent call last):\n")
    assert text.endswith(b"FileNotFoundError: [Errno 2] No such file or directory: 'nothing.csv'\n")
    assert b"oneDNN custom operations are on" in noise
    assert b"rebuild TensorFlow" in noise


@pytest.mark.parametrize(
    "line",
    [
        b"I1128 06:12:48.123456 140735 train.py:12] absl.logging of the user's own\n",
        b"F0000 00:00:1795846779.762385   30617 cuda.cc:153] Check failed: it ends the program\n",
        b"WARNING:tensorflow:5 out of the last 5 calls triggered tf.function retracing\n",
        b"INFO:     uvicorn started\n",
        b"2026-11-28 06:20:00.109157: I my own log\n",
    ],
)
def test_user_output_is_not_noise(line):
    assert split(line) == (line, b"")


def test_noise_after_progress_bar():
    message = b"2026-11-28 06:20:00.109157: W tensorflow/core/util/port.cc:104] slow\n"
    assert split(b"\r 10%|# |" + message + b"\r 20%|##|") == (b"\r 10%|# |\r 20%|##|", message)


# The recorder, with real processes


def record(
    tmp_path: Path, program: str, argv: tuple[str, ...] = (sys.executable, "-u", "-c")
) -> RunPaths:
    paths = RunPaths(tmp_path)
    paths.logs.mkdir()
    with Recorder(paths, 1) as recorder:
        child = subprocess.Popen(
            [*argv, program],
            stdin=subprocess.DEVNULL,
            stdout=recorder.stdout,
            stderr=recorder.stderr,
        )
        recorder.start()
        child.wait(60)
    return paths


def logs(paths: RunPaths) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(paths.logs.iterdir())}


NOISE = "I0000 00:00:1795846779.762385   30617 port.cc:153] oneDNN custom operations are on.\\n"


def test_quiet_script_has_one_log(tmp_path):
    assert logs(record(tmp_path, "print('hello')")) == {"1.log": b"hello\n"}


@pytest.mark.cases("F20")
def test_streams_have_separate_logs(tmp_path):
    program = f"""
import sys, time
print("one")
sys.stderr.write("{NOISE}")
print("two")
time.sleep(0.3)
print("warning", file=sys.stderr)
time.sleep(0.3)
print("three")
"""
    assert logs(record(tmp_path, program)) == {
        "1.log": b"one\ntwo\nwarning\nthree\n",
        "1.stderr.log": b"warning\n",
        "1.stdout.log": b"one\ntwo\nthree\n",
        "1.tensorflow.log": NOISE.replace("\\n", "\n").encode(),
    }


@pytest.mark.cases("F20")
def test_streams_do_not_cut_lines(tmp_path, monkeypatch):
    """Python sends a line and its end in two pieces: the other stream's lines do not come between them."""
    monkeypatch.setattr(recorder, "IDLE_S", 5.0)  # a busy machine takes long for the second piece
    program = """
import os, time
for number in range(20):
    os.write(1, b"out")
    os.write(2, b"err")
    time.sleep(0.01)
    os.write(2, b"\\n")
    os.write(1, b"\\n")
os.write(1, b"open")
os.write(2, b"last")
"""
    paths = record(tmp_path, program)

    lines = paths.log(1).read_bytes().splitlines()
    assert sorted(lines)[:20] == [b"err"] * 20
    assert lines.count(b"out") == 20
    assert lines[40:] in ([b"openlast"], [b"lastopen"])
    assert paths.stdout_log(1).read_bytes() == b"out\n" * 20 + b"open"
    assert paths.stderr_log(1).read_bytes() == b"err\n" * 20 + b"last"


def test_traceback_follows_printed_output(tmp_path):
    text = (
        record(tmp_path, "for n in range(2000): print(n)\nopen('nothing.csv')").log(1).read_text()
    )
    assert text.startswith("0\n1\n")
    assert text.index("1999\n") < text.index("Traceback")


def test_output_appears_at_once(tmp_path):
    """A prompt without a newline, and what may yet become a message, are in the log while the script runs."""
    paths = RunPaths(tmp_path)
    paths.logs.mkdir()
    program = "import sys; print('name? ', end=''); sys.stderr.write('12'); sys.stdin.read()"
    with Recorder(paths, 1) as recorder:
        child = subprocess.Popen(
            [sys.executable, "-u", "-c", program],
            stdin=subprocess.PIPE,
            stdout=recorder.stdout,
            stderr=recorder.stderr,
        )
        recorder.start()
        deadline = time.monotonic() + 20
        while paths.log(1).read_text() not in ("name? 12", "12name? "):
            assert time.monotonic() < deadline, paths.log(1).read_text()
            time.sleep(0.02)
        child.communicate(b"", timeout=20)


def test_no_terminal_and_no_stdin(tmp_path):
    program = "import sys; print(sys.stdout.isatty(), sys.stderr.isatty(), repr(sys.stdin.read()))"
    assert logs(record(tmp_path, program)) == {"1.log": b"False False ''\n"}


def test_shell_opens_its_own_streams(tmp_path):
    """`echo > /dev/stderr` works on a pipe, as it does on a file."""
    paths = record(tmp_path, "echo out > /dev/stdout; echo err > /dev/stderr", ("bash", "-c"))
    assert sorted(paths.log(1).read_bytes().splitlines()) == [b"err", b"out"]


def test_binary_output_is_kept(tmp_path):
    data = bytes(range(256)).replace(b"\r", b"").replace(b"\b", b"") * 300
    program = (
        "import sys; sys.stdout.buffer.write("
        "bytes(range(256)).replace(b'\\r', b'').replace(b'\\b', b'') * 300); sys.stdout.flush()"
    )
    assert record(tmp_path, program).log(1).read_bytes() == data


def test_much_output_in_little_memory(tmp_path):
    program = "import os\nfor _ in range(1000): os.write(1, b'a line of text, as programs print them\\n' * 1000)"
    started = time.monotonic()
    paths = record(tmp_path, program)
    assert paths.log(1).stat().st_size == 39_000_000
    assert time.monotonic() - started < 60


def test_surviving_process_does_not_block_run(tmp_path):
    """A process that outlives the script keeps its streams open: its last words are read, and then no more."""
    started = time.monotonic()
    program = "import subprocess, sys; print(subprocess.Popen(['sleep', '30']).pid, flush=True)"
    text = record(tmp_path, program).log(1).read_text()
    os.kill(int(text), 15)
    assert time.monotonic() - started < 15


def test_full_disk_does_not_end_script(tmp_path, monkeypatch):
    """What cannot be written is dropped after a while, and the log says how much once it can be written again.

    The log is a pipe: without a reader each write fails.
    """
    monkeypatch.setenv("HPCDL_SAVE_RETRY_S", "0")
    paths = RunPaths(tmp_path)
    paths.logs.mkdir()
    os.mkfifo(paths.log(1))
    reader = os.open(paths.log(1), os.O_RDONLY | os.O_NONBLOCK)
    program = "import sys\nfor word in 'lost', 'unsure', 'there': print(word); sys.stdin.read(1)"
    with Recorder(paths, 1) as recorder:
        child = subprocess.Popen(
            [sys.executable, "-u", "-c", program],
            stdin=subprocess.PIPE,
            stdout=recorder.stdout,
            stderr=recorder.stderr,
        )
        os.close(reader)
        recorder.start()
        for word in ("lost", "unsure"):  # when it has read the second one, the first one is dropped
            until_read(recorder, word)
            if word == "lost" and child.stdin is not None:
                child.stdin.write(b"x")
                child.stdin.flush()
        reader = os.open(paths.log(1), os.O_RDONLY | os.O_NONBLOCK)
        child.communicate(b"xx", timeout=20)
    text = os.read(reader, 9999).decode()
    os.close(reader)
    assert child.returncode == 0
    assert "lost" not in text
    assert re.search(r"\(hpcdl: (5|12) bytes of output could not be written here\)\n", text)
    assert text.endswith("there\n")


def until_read(recorder: Recorder, word: str) -> None:
    deadline = time.monotonic() + 20
    while word not in recorder.end_of_output():
        assert time.monotonic() < deadline, recorder.end_of_output()
        time.sleep(0.01)
