"""A run whose frozen files are damaged when its job starts."""

from __future__ import annotations

import pytest

from hpcdl.launch import launch, launch_local
from hpcdl.run.paths import RunPaths


@pytest.mark.parametrize("start", [launch, launch_local])
@pytest.mark.parametrize(
    ("content", "why"),
    [("", "Expecting value"), ("[]", "it holds no keys"), ('{"version": 9}', "has version 9")],
    ids=["empty", "list", "newer"],
)
def test_damaged_plan_is_a_sentence(tmp_path, capfd, start, content, why):
    """The job's log says why the run cannot start, and the job does not ask to be requeued."""
    run = RunPaths(tmp_path / "runs" / "a" / "20260101-1200-aaaa")
    run.root.mkdir(parents=True)
    run.plan.write_text(content)

    with pytest.raises(SystemExit) as end:
        start(str(run.root))

    log = capfd.readouterr()
    assert end.value.code == 1
    assert "plan.json" in log.out and why in log.out
    assert "Traceback" not in log.out + log.err
