"""Exports the models of a run as each kind that was asked for, in turn, and measures them."""

from __future__ import annotations

import errno
import os
import time
import traceback
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import tensorflow as tf

from hpcdl.contract import export_kinds, run_files
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
from hpcdl.trainer.export.members import Trained
from hpcdl.trainer.export.served import Intake, Served, intake_of
from hpcdl.trainer.files.hashes import sha256_of
from hpcdl.trainer.files.retry import keep_trying
from hpcdl.trainer.runtime.log import say
from hpcdl.trainer.session import ExportImages

Row = Dict[str, Any]
_FULL = (errno.ENOSPC, errno.EDQUOT)


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
        self._members: List[Dict[str, str]] = []  # of a mean, once they are read
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
        except Exception as error:  # as in _make_one
            return self._refused(kinds, _words(error))
        rows = self._take_graph(kinds, subject)
        refused = [row["kind"] for row in rows]
        for kind in kinds:
            if kind in refused:
                continue
            between(kind)
            if test is None and kind not in OF_KERAS:
                rows.append(_refused(kind, why))
                continue
            rows.append(self._make_one(kind, subject, test))
            self._folder.write_rows(rows[-1:])  # a kill later does not take it
        return rows

    def _take_graph(self, kinds: Sequence[str], subject: Subject) -> List[Row]:
        """Give the converter its graph. The rows of the kinds that cannot be made without it."""
        of_lite = [kind for kind in kinds if kind in LITE]
        if not of_lite:
            return []
        try:
            self._converter.take(subject.in_float32, subject.representative)
        except Exception as error:  # as in _make_one
            self._converter.close()  # what it wrote is of no use, and takes room
            return self._refused(of_lite, _words(error))
        return []

    def _refused(self, kinds: Sequence[str], why: str) -> List[Row]:
        rows = [_refused(kind, why) for kind in kinds]
        self._folder.write_rows(rows)
        return rows

    def _write_about(self, intake: Intake, known: Optional[Tuple[Any, Any]]) -> None:
        about = about_model(self._name, self._version, self._run_ids, intake, self._class_names)
        if known is not None:
            about["test"] = about_test(*known)
        self._folder.write_about(about)

    def _subject(self, intake: Intake, images: ExportImages) -> Subject:
        members, in_float32 = [], []
        for trained in self._trained:
            member = members_of.read_member(trained)
            members.append(member)
            in_float32.append(members_of.in_float32(trained, member))
        self._members = _members(self._trained)
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
        return labels, _mean(each)

    def _make_one(self, kind: str, subject: Subject, test: Optional[TestImages]) -> Row:
        """The row of a kind that was made, or one with the reason why it was not."""
        started = time.perf_counter()
        try:
            row = self._made(kind, subject, test)
        except NotExported as error:
            return _refused(kind, _words(error) if _is_disk_full(error) else str(error))
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
        if self._members:
            row["members"] = self._members
        row["versions"] = {"tensorflow": str(tf.__version__), "keras": compat.keras_version()}
        return row


def _mean(each: Sequence[Any]) -> Any:
    """The mean of probabilities, computed as `hpcdl compare` does it: it is the same number."""
    if len(each) == 1:
        return each[0]
    total: Any = 0.0
    for probabilities in each:
        total = total + probabilities.astype(np.float64)
    return total / len(each)


def _members(trained: Sequence[Trained]) -> List[Dict[str, str]]:
    """Which models a mean is of: the run, the file in its folder and its hash; of one, nothing."""
    if len(trained) == 1:
        return []
    rows = []
    for member in trained:
        root = member.folder
        if os.path.basename(os.path.dirname(root)) == run_files.FOLDS:
            root = os.path.dirname(os.path.dirname(root))
        file = os.path.relpath(member.file, root)
        row = {"run": os.path.basename(root), "file": file, "sha256": sha256_of(member.file)}
        rows.append(row)
    return rows


def _words(error: Exception) -> str:
    """Why something failed, for people."""
    if _is_disk_full(error):
        message = "the disk is full, or over a quota: free some space there, then: {}"
        return message.format("hpcdl export RUN --to KIND")
    if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)):
        return "there is not enough memory for it"
    if isinstance(error, OSError):
        return "it cannot be written or read: {}".format(error)
    traceback.print_exception(type(error), error, error.__traceback__)
    first_line = str(error).strip().partition("\n")[0][:300]
    return "{}: {}".format(type(error).__name__, first_line)


def _is_disk_full(error: BaseException) -> bool:
    """Whether a write failed for want of space; libraries have the reason in their texts alone."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return any(os.strerror(number) in str(error) for number in _FULL)


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
