"""How outcomes and enumerations are said, the same in tables, answers and exports."""

from __future__ import annotations

from collections.abc import Sequence

from harness.schema import Outcome

FAILURES = {
    Outcome.OUT_OF_MEMORY: "ran out of memory",
    Outcome.TIMEOUT: "timed out",
    Outcome.UNSUPPORTED: "is unsupported",
    Outcome.WRONG: "gave wrong values",
    Outcome.CRASHED: "crashed",
    Outcome.ERROR: "failed with an error",
    Outcome.SKIPPED: "was skipped",
    Outcome.IMPLIED: "was not tried",
    Outcome.DIVERGED: "diverged in training",
}


def outcome(value: Outcome) -> str:
    """Return an outcome as a table says it: `out of memory`, `timeout`, ..."""
    return value.value.replace("_", " ")


def listing(items: Sequence[str], joint: str = "and") -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {joint} {items[-1]}"


def count(number: int, noun: str) -> str:
    """Return `1 cell`, `2 cells`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def plain(text: str) -> str:
    """Return text on one line without control characters, fit for any terminal or file."""
    joined = " ".join(text.split())
    return "".join(letter if letter.isprintable() else "?" for letter in joined)
