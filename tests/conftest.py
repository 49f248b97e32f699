"""What all tests share: an environment without surprises, job files, hostile folders, the command line twice over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

import hpcdl.cache
import hpcdl.cli

pytest_plugins = ("tests.reporting", "tests.browser")

REPOSITORY = Path(__file__).resolve().parents[1]
_WIPED = (
    "HPCDL_",
    "SLURM_",
    "SBATCH_",
    "CUDA_VISIBLE_DEVICES",
    "XDG_C",
    "PYTHONPATH",
    "KERAS_HOME",
)
_KEPT = ("HPCDL_REQUIRE_", "HPCDL_TESTBED")  # what the test suite itself is told

# A shell that starts the tests in the background has them ignore Ctrl-C, and with them what they start
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples each time, as CI wants them; `--hypothesis-profile=thousands` looks further
settings.register_profile(
    "seeded",
    max_examples=120,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile(
    "thousands", settings.get_profile("seeded"), max_examples=5000, derandomize=False
)
settings.load_profile("seeded")


def pytest_addoption(parser):
    parser.addoption(
        "--golden",
        action="store_true",
        help="write tests/golden and tests/golden_sites anew, to be read before it is committed",
    )


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path_factory):
    """No variable of hpcdl's or SLURM's, and a home folder of the test's own."""
    for name in os.environ:
        if name.startswith(_WIPED) and not name.startswith(_KEPT):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setattr(hpcdl.cache, "_in_memory", {})
    monkeypatch.setattr(hpcdl.cache, "_complaints", [])


@dataclass(frozen=True)
class Answer:
    """What one command line gave."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys):
    """Runs the command line in this process."""

    def run(*argv: object) -> Answer:
        capsys.readouterr()
        code = hpcdl.cli.main([str(word) for word in argv])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def program():
    """The argv in front of a command line in a process of its own."""
    return [sys.executable, "-m", "hpcdl"]


@pytest.fixture
def hpcdl_process(program):
    """Runs the command line in a process of its own."""

    def run(*argv: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> Answer:
        done = subprocess.run(
            [*program, *map(str, argv)],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def write_job(tmp_path: Path):
    """Writes a job file, and whatever lies beside it, into the test's folder."""

    def write(text: str, name: str = "job.yaml", **beside: str) -> Path:
        for other, content in beside.items():
            (tmp_path / other.replace("__", ".")).write_text(content)
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def hostile(tmp_path):
    """A folder whose name bash would tear apart, were it not quoted."""
    folder = tmp_path / 'it\'s "a" $(touch pwned); `touch pwned` & *'
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def tf():
    """TensorFlow with two CPU devices. Tests use this one: the first operation fixes the devices."""
    tensorflow = pytest.importorskip("tensorflow")
    cpu = tensorflow.config.list_physical_devices("CPU")[0]
    tensorflow.config.set_logical_device_configuration(
        cpu, [tensorflow.config.LogicalDeviceConfiguration()] * 2
    )
    return tensorflow
