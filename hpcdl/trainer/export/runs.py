"""Which models an export is of: that of a run, those of its folds, or those of several runs."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any, Callable, Dict, List, Sequence

from hpcdl.contract import run_files
from hpcdl.contract.errors import Stopped
from hpcdl.contract.spec import RunSpec
from hpcdl.trainer.export.exporting import Export, Row
from hpcdl.trainer.export.files import ExportFolder
from hpcdl.trainer.export.members import Trained
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.session import ExportImages


def export_run(
    run: RunSpec,
    run_dir: RunDir,
    images: ExportImages,
    result: Dict[str, Any],
    between: Callable[[str], None],
) -> List[Row]:
    """Export the model of a run into its folder: the kinds of its section ``export``.

    Of a cross-validation that is the mean of the folds' models.

    Args:
        run: its spec.
        run_dir: its folder.
        images: of its data set.
        result: the content of its result.json.
        between: as in `Export.make`.

    Returns:
        the rows of export.json.
    """
    trained = [Trained(run, run_dir.folder, result)]
    if run.train.cross_validation:
        trained = _folds(run, run_dir)
    folder = ExportFolder(run_dir.path(run_files.EXPORT))
    export = Export(run.name, [_run_id(run_dir)], _version(run_dir), trained, folder)
    return export.make(run.export, images, between)


def export_mean(
    run: RunSpec,
    members: Sequence[Trained],
    folder: str,
    images: ExportImages,
) -> List[Row]:
    """Export the models of several runs as one, their mean: the kinds of ``run.export``.

    On a server it is named after the run, with ``-mean``: the run's own model keeps its place.

    Args:
        run: the one on whose images it is measured.
        members: the runs; one of a cross-validation counts as the models of its folds.
        folder: where it goes.
        images: of the run's data set.

    Returns:
        the rows of export.json.
    """
    trained, run_ids, version = [], [], 0
    for member in members:
        run_dir = RunDir(os.path.join(member.folder, run_files.SPEC))
        run_ids.append(_run_id(run_dir))
        version = max(version, _version(run_dir))
        if not member.run.train.cross_validation:
            trained.append(member)
            continue
        for fold in _folds(member.run, run_dir):
            trained.append(replace(fold, code=member.code))
    name = "{}-mean".format(run.name)
    export = Export(name, run_ids, version, trained, ExportFolder(folder))
    return export.make(run.export, images, lambda kind: None)


def _run_id(run_dir: RunDir) -> str:
    return os.path.basename(run_dir.folder)


def _version(run_dir: RunDir) -> int:
    """When the training ended, in seconds since 1970: now, if there is no result.json yet."""
    path = run_dir.path(run_files.RESULT)
    return int(os.path.getmtime(path) if os.path.exists(path) else time.time())


def _folds(run: RunSpec, run_dir: RunDir) -> List[Trained]:
    folds = []
    for number in range(1, (run.train.cross_validation or 0) + 1):
        fold_dir = RunDir(run_dir.path(run_files.FOLDS, str(number), run_files.SPEC))
        folds.append(Trained(run, fold_dir.folder, fold_dir.read_result()))
    return folds


def stop_if_asked(run_dir: RunDir, kind: str) -> None:
    """Say what is made next in the heartbeat; raise `Stopped` if the stop file is there.

    The next attempt exports again.
    """
    if run_dir.stop_requested():
        run_dir.heartbeat(phase="stopped")
        raise Stopped(
            "stopped on request before {} was exported; run me again to go on".format(kind)
        )
    run_dir.heartbeat(phase="exporting", kind=kind)
