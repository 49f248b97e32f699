"""Names of jobs: which are valid, and a valid one for a file."""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def job_name(text: str) -> str:
    """A valid job name for a file's: accents go, what no name can have becomes a dash."""
    import unicodedata  # here: a job file has its name already

    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", plain)
    return name.lstrip("._-")[:100].rstrip("-") or "script"
