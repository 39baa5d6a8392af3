"""The answer of what cannot run here."""

from __future__ import annotations


class Unsupported(Exception):  # noqa: N818 - an answer, not a fault
    """This mechanism or impl cannot run here; the message says why."""
