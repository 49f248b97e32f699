"""Why a model cannot be exported as some kind."""

from __future__ import annotations


class NotExported(Exception):  # noqa: N818 - what happens to a kind, and no fault of a run
    """A kind cannot be made of a model; the others can. The text is the reason, for people."""
