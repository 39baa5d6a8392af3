"""Examines a machine: what it tells of itself, the A/A floor, what both mean; changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harness.codec import encode
from harness.floor import Floor, FloorError, measure
from harness.schema import Environment, Job, Result
from harness.telling.checkup import Facts, Finding, findings


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What a machine told of itself, its floor, and what we make of it."""

    facts: Facts
    floor: Floor | None  # None: not measured
    findings: tuple[Finding, ...]

    @property
    def json(self) -> str:
        """All of it as JSON."""
        return json.dumps(encode(self), indent=2, allow_nan=False) + "\n"


class Executor(Protocol):
    """What an examination asks of an executor."""

    def examine(self) -> dict[str, Any]:
        """Return the facts."""
        ...

    def together(
        self, jobs: Sequence[Job], name: str, on_stage: Callable[[str], None]
    ) -> Sequence[tuple[Result, Environment | None]]:
        """Measure cells in turns."""
        ...


def examine(executor: Executor, *, pairs: int) -> Examination:
    """Ask the machine, measure the A/A floor with so many pairs of launches, and judge."""
    facts = executor.examine()
    floor: Floor | str = "not asked for"
    if pairs > 0:
        try:
            floor = measure(executor.together, sittings=pairs)
        except FloorError as error:
            floor = str(error)
    found = findings(facts, floor)
    return Examination(
        facts=facts, floor=floor if isinstance(floor, Floor) else None, findings=found
    )
