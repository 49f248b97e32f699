"""All that is found wrong in a batch script, by line."""

from __future__ import annotations

from hpcdl.batchscript.findings_background import background_findings
from hpcdl.batchscript.findings_container import container_findings
from hpcdl.batchscript.findings_continued import torn_line_findings
from hpcdl.batchscript.findings_counts import count_findings
from hpcdl.batchscript.findings_cuda import cuda_findings
from hpcdl.batchscript.findings_environment import environment_findings
from hpcdl.batchscript.findings_folders import folder_findings
from hpcdl.batchscript.findings_lines import line_findings
from hpcdl.batchscript.findings_meant import meant_findings
from hpcdl.batchscript.findings_nodes import node_findings
from hpcdl.batchscript.findings_paths import torn_path_findings
from hpcdl.batchscript.findings_signal import signal_findings
from hpcdl.batchscript.findings_tasks import task_findings
from hpcdl.batchscript.findings_time import checkpoint_findings
from hpcdl.batchscript.model import BatchScript, ScriptFinding
from hpcdl.batchscript.surroundings import Surroundings

__all__ = ["Surroundings", "findings"]
_ALL = (
    line_findings,
    count_findings,
    folder_findings,
    torn_path_findings,
    torn_line_findings,
    container_findings,
    task_findings,
    environment_findings,
    cuda_findings,
    checkpoint_findings,
    signal_findings,
    background_findings,
    node_findings,
    meant_findings,
)


def findings(script: BatchScript, around: Surroundings) -> list[ScriptFinding]:
    """What is wrong with a script, by line; none for a good one, nor for what cannot be known."""
    found = {finding for find in _ALL for finding in find(script, around)}
    return sorted(found, key=lambda finding: (finding.line, finding.code, finding.cause))
