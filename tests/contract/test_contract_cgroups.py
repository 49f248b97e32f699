"""The limits and kills that control groups tell of, with files as both kernel interfaces have them."""

from __future__ import annotations

import pytest

from hpcdl.contract import cgroups, machine
from hpcdl.launch.memory import oom_kills

GIB = 1024**3


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Writes the kernel's files below tmp_path; the process is in the groups of ``lines``."""
    monkeypatch.setattr(cgroups, "_OWN", str(tmp_path / "own"))
    monkeypatch.setattr(cgroups, "_ROOT", str(tmp_path / "cgroup"))
    monkeypatch.setattr("os.sysconf", lambda name: 8 * GIB if name == "SC_PHYS_PAGES" else 1)
    monkeypatch.delenv("HPCDL_MEMORY_GB", raising=False)

    def write(lines, files):
        (tmp_path / "own").write_text(lines)
        for name, content in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    return write


def test_version_2(kernel):
    """The least limit counts, also that of a group above; "max" is none."""
    kernel(
        "0::/slurm/job_7/step_0\n",
        {
            "slurm/job_7/step_0/memory.max": "max\n",
            "slurm/job_7/step_0/memory.events": "low 0\noom 3\noom_kill 2\n",
            "slurm/job_7/memory.max": f"{2 * GIB}\n",
            "slurm/memory.max": f"{4 * GIB}\n",
        },
    )

    assert machine.limit_bytes() == 2 * GIB
    assert oom_kills() == 2


def test_version_1(kernel):
    kernel(
        "9:cpuset:/slurm/other\n4:cpu,memory:/slurm/job_7\n",
        {
            "memory/slurm/job_7/memory.limit_in_bytes": f"{GIB}\n",
            "memory/slurm/job_7/memory.oom_control": "under_oom 0\noom_kill 1\n",
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )

    assert machine.limit_bytes() == GIB
    assert oom_kills() == 1


def test_name_that_is_not_ascii(kernel):
    kernel("0::/benützer\n", {"benützer/memory.max": f"{GIB}\n"})

    assert machine.limit_bytes() == GIB


def test_without_control_groups(kernel):
    kernel("", {})

    assert machine.limit_bytes() == 8 * GIB
    assert oom_kills() is None
