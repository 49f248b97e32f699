"""A test that is over, or was left early: its verdicts as a table's cells and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hpcdl.files import write_json
from hpcdl.promises.evidence import JobEvidence
from hpcdl.promises.folder import TestFolder
from hpcdl.promises.judging import changes, summary
from hpcdl.promises.names import PROMISES
from hpcdl.promises.verdict import BROKEN, KEPT, NOT_NEEDED, NOT_TRIED, Verdict

_VERSION = 1
SIGNS = {KEPT: "✓", BROKEN: "✗", NOT_TRIED: "-", NOT_NEEDED: " "}


@dataclass(frozen=True)
class Outcome:
    """What a test gave.

    Args:
        folder: the test's.
        profile: the profile's name.
        verdicts: by the promises' names.
        evidence: by the jobs' names.
        notes: what else is to be said of the test, such as that it was left early.
    """

    folder: TestFolder
    profile: str
    verdicts: Mapping[str, Verdict]
    evidence: Mapping[str, JobEvidence]
    notes: Sequence[str] = ()

    @property
    def titles(self) -> dict[str, str]:
        """The promises in words, by their names."""
        return {promise.name: promise.title for promise in PROMISES}

    @property
    def changes(self) -> dict[str, object]:
        """The keys of the profile that would help."""
        return changes(self.verdicts)

    @property
    def summary(self) -> str:
        """How many promises are kept."""
        return summary(self.verdicts)

    def as_json(self) -> dict[str, Any]:
        """All of it for programs."""
        promises = []
        for name, verdict in self.verdicts.items():
            promises.append({"name": name, "title": self.titles[name], **asdict(verdict)})
        return {
            "version": _VERSION,
            "profile": self.profile,
            "folder": str(self.folder.root),
            "summary": self.summary,
            "promises": promises,
            "changes": self.changes,
            "jobs": {name: asdict(about) for name, about in self.evidence.items()},
            "notes": list(self.notes),
        }

    def lines(self) -> list[list[str]]:
        """Rows of cells for people; an advice stands below its promise."""
        rows = []
        for name, verdict in self.verdicts.items():
            finding = verdict.finding
            if verdict.outcome in (NOT_TRIED, NOT_NEEDED):
                finding = f"{verdict.outcome}: {finding}"
            rows.append([f" {SIGNS[verdict.outcome]} {name}", finding])
            if verdict.advice:
                rows.append(["", verdict.advice])
        return rows

    def write(self) -> None:
        """Write the record into the test's folder.

        Raises:
            OSError: it cannot be written.
        """
        write_json(self.folder.record, self.as_json())
