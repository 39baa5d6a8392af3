"""Waivers: regressions that a team accepts, each with its reason and the day it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from fnmatch import fnmatchcase

from harness.judging.finding import Finding, Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """One accepted regression, as a line of the waivers' file."""

    cell: str  # id or contender, `*` and `?` allowed
    metric: str  # name or `*`; `outcome` for cells that fail, are missing or were removed
    reason: str
    expires: date  # the last day on which it holds
    ratio: float | None = None  # the largest ratio that it covers; None: any
    issue: str | None = None

    def covers(self, finding: Finding) -> bool:
        """Say whether it is about this finding."""
        if not fnmatchcase(finding.cell, self.cell) or not fnmatchcase(finding.metric, self.metric):
            return False
        return self.ratio is None or (finding.ratio is not None and finding.ratio <= self.ratio)


def apply(
    findings: Sequence[Finding], waivers: Sequence[Waiver], today: date
) -> tuple[list[Finding], list[str]]:
    """Mark the regressions that a waiver covers; return them and what is wrong with waivers.

    An expired waiver covers nothing and is told; so is one that covers nothing any more.
    """
    valid = [w for w in waivers if w.expires >= today]
    problems = [
        f"the waiver of {w.cell} ({w.metric}) expired on {w.expires}: {w.reason}"
        for w in waivers
        if w.expires < today
    ]
    used: set[Waiver] = set()
    found: list[Finding] = []
    for finding in findings:
        cover = next((w for w in valid if w.covers(finding)), None) if _waivable(finding) else None
        if cover is not None:
            used.add(cover)
        found.append(finding if cover is None else replace(finding, waiver=_told(cover)))
    problems += [
        f"the waiver of {w.cell} ({w.metric}) covers nothing any more: {w.reason}"
        for w in valid
        if w not in used
    ]
    return found, problems


def _waivable(finding: Finding) -> bool:
    return finding.judgement in (Judgement.REGRESSION, Judgement.REMOVED)


def _told(waiver: Waiver) -> str:
    issue = f", {waiver.issue}" if waiver.issue else ""
    return f"{waiver.reason} (until {waiver.expires}{issue})"
