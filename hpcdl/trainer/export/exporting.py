"""Exports the models of a run as each kind that was asked for, in turn, and measures them."""

from __future__ import annotations

import os
import re
import time
import traceback
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import tensorflow as tf

from hpcdl.contract import export_kinds, run_files
from hpcdl.contract.errors import Stopped
from hpcdl.contract.spec import RunSpec
from hpcdl.contract.tables import aligned
from hpcdl.trainer import compat
from hpcdl.trainer.export import members as members_of
from hpcdl.trainer.export.about import about_model, about_test, names_of
from hpcdl.trainer.export.errors import NotExported
from hpcdl.trainer.export.files import ExportFolder, facts_of
from hpcdl.trainer.export.kinds import KINDS, LITE, OF_KERAS, TIMED_ELSEWHERE, Subject
from hpcdl.trainer.export.known_answers import read_answers, require_same_images
from hpcdl.trainer.export.lite_client import Converter
from hpcdl.trainer.export.measure import TestImages, measure, threads_of_tensorflow
from hpcdl.trainer.export.served import Intake, Served, intake_of
from hpcdl.trainer.files.retry import keep_trying
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.session import ExportImages

Row = Dict[str, Any]

_DISK_FULL = re.compile("No space left on device|Disk quota exceeded")  # TensorFlow's words


@dataclass
class Trained:
    """A trained model in a folder: of a run, or of a fold.

    run: its spec.
    folder: its folder, with result.json's files.
    result: the content of its result.json.
    """

    run: RunSpec
    folder: str
    result: Dict[str, Any]


class Export:
    """The export of one model, or of the mean of several.

    Args:
        name: the model's.
        run_ids: of the runs that the models are of.
        version: of what is served, seconds since 1970 at the end of the training.
        trained: the models, at least one.
        folder: where it goes.
    """

    def __init__(
        self,
        name: str,
        run_ids: Sequence[str],
        version: int,
        trained: Sequence[Trained],
        folder: ExportFolder,
    ) -> None:
        self._name, self._run_ids, self._version = name, run_ids, version
        self._trained, self._folder = trained, folder
        data = trained[0].result["data"]
        self._class_names = names_of(data["class_names"] or (), data["classes"])
        self._converter = Converter(folder.scratch)

    def make(
        self, kinds: Sequence[str], images: ExportImages, between: Callable[[str], None]
    ) -> List[Row]:
        """Make some kinds, and write model.json and export.json.

        A kind that cannot be made has a row with the reason, under ``why``.

        Args:
            kinds: their names.
            images: of the data set that the models were trained on.
            between: called with the name of each kind before it is made; may raise.

        Returns:
            the rows of export.json, one for each kind.
        """
        keep_trying("the folder of exports", self._folder.prepare)
        try:
            if set(kinds) & set(LITE):
                self._converter.start()
            rows = self._make_each(kinds, images, between)
        finally:
            self._converter.close()
        self._folder.write_rows(rows)
        for line in aligned(table(rows)):
            say(line)
        return rows

    def _make_each(
        self, kinds: Sequence[str], images: ExportImages, between: Callable[[str], None]
    ) -> List[Row]:
        known, why = None, ""
        try:
            known = self._known_answers(images)
        except NotExported as error:
            why = str(error)
        intake = intake_of(images.dataset)
        self._write_about(intake, known)
        try:
            subject, test = self._subject(intake, images), None
            if known is not None:
                test = subject.test = TestImages.read(images.test, *known)
            if set(kinds) & set(LITE):
                self._converter.take(subject.in_float32, subject.representative)
        except Exception as error:  # as in _make_one
            why = _words(error)
            return [_refused(kind, why) for kind in kinds]
        rows = []
        for kind in kinds:
            between(kind)
            if test is None and kind not in OF_KERAS:
                rows.append(_refused(kind, why))
                continue
            rows.append(self._make_one(kind, subject, test))
        return rows

    def _write_about(self, intake: Intake, known: Optional[Tuple[Any, Any]]) -> None:
        about = about_model(self._name, self._version, self._run_ids, intake, self._class_names)
        if known is not None:
            about["test"] = about_test(*known)
        self._folder.write_about(about)

    def _subject(self, intake: Intake, images: ExportImages) -> Subject:
        members, in_float32 = [], []
        for trained in self._trained:
            member = members_of.read_member(trained.run, trained.folder, trained.result)
            members.append(member)
            in_float32.append(members_of.in_float32(trained.run, member, trained.result))
        return Subject(
            members,
            Served(members, intake, self._class_names),
            Served(in_float32, intake, self._class_names),
            self._converter,
            self._name,
            self._version,
            self._folder.about,
            images.representative,
        )

    def _known_answers(self, images: ExportImages) -> Tuple[Any, Any]:
        """Labels and mean probabilities of all test rows.

        Raises:
            NotExported: a model gives none, or they are of other images.
        """
        labels, each = None, []
        for trained in self._trained:
            labels, probabilities = read_answers(trained.folder)
            each.append(probabilities)
        require_same_images(labels, images.dataset)
        return labels, sum(each) / np.float32(len(each))

    def _make_one(self, kind: str, subject: Subject, test: Optional[TestImages]) -> Row:
        """The row of a kind that was made, or one with the reason why it was not."""
        started = time.perf_counter()
        try:
            row = self._made(kind, subject, test)
        except NotExported as error:
            return _refused(kind, str(error))
        except Exception as error:  # no kind may end a training that is done
            return _refused(kind, _words(error))
        return dict(row, seconds=time.perf_counter() - started)

    def _made(self, kind: str, subject: Subject, test: Optional[TestImages]) -> Row:
        row: Row = {"kind": kind, "file": export_kinds.FILES[kind]}
        with self._folder.replacing(kind) as path:
            KINDS[kind].make(subject, path)
            row.update(facts_of(path))
            runner = KINDS[kind].run(path, subject)
            if runner is not None and test is not None:
                row.update(measure(runner.answer, runner.batch_rows, test))
                row["threads"] = runner.threads or threads_of_tensorflow()
                if kind in TIMED_ELSEWHERE:
                    del row["ms"], row["threads"]
        row["versions"] = {"tensorflow": str(tf.__version__), "keras": compat.keras_version()}
        return row


def _words(error: Exception) -> str:
    """Why something failed, for people."""
    if isinstance(error, tf.errors.ResourceExhaustedError) and _DISK_FULL.search(str(error)):
        return "the disk is full, or your quota of it is used up: make room, and export again"
    if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)):
        return "there is not enough memory for it"
    if isinstance(error, OSError):
        return "it cannot be written or read: {}".format(error)
    traceback.print_exception(type(error), error, error.__traceback__)
    first_line = str(error).strip().partition("\n")[0][:300]
    return "{}: {}".format(type(error).__name__, first_line)


def _refused(kind: str, why: str) -> Row:
    say("{} is not exported: {}".format(kind, why))
    return {"kind": kind, "why": why}


def table(rows: Sequence[Row]) -> List[List[str]]:
    """The rows of what was made, for the log."""
    lines = [["export", "kB", "gzip", "accuracy", "agreement", "ms", "on"]]
    for row in rows:
        if "why" in row:
            continue
        cells = [row["kind"], _thousands(row["bytes"]), _thousands(row["gzip"])]
        for key, form in (("accuracy", "{:.4f}"), ("agreement", "{:.4f}"), ("ms", "{:.3f}")):
            cells.append(form.format(row[key]) if key in row else "-")
        cells.append("{:,} images".format(row["rows"]) if "rows" in row else "not measured")
        lines.append(cells)
    return lines if len(lines) > 1 else []


def _thousands(count: Optional[int]) -> str:
    return "-" if count is None else "{:,.0f}".format(count / 1000)


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
    run_id = os.path.basename(run_dir.folder)
    export = Export(run.name, [run_id], _version(run_dir), trained, folder)
    return export.make(run.export, images, between)


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
