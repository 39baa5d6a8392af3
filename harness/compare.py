"""Two runs, cell by cell: outcomes, ratios with intervals, and a plain verdict.

Like is compared with like: the same cell id, the same instrument, an equal environment. Times of
different machines are `incomparable`; what is counted rather than timed (FLOPs, bytes, parameters)
stays comparable.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from harness import stats
from harness.judging.change import Change, Verdict, change
from harness.judging.conditions import Difference, differences, differing, environment_of
from harness.judging.panels import in_order
from harness.schema import Cell, Measurement, Outcome, Result, Run

# What a cell is judged by, with what its suite asks for and gates; wall time, for one, only
# explains: on a shared machine it tells of the neighbours.
JUDGED = frozenset({"latency", "peak_memory", "flops_executed", "parameters"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CellComparison:
    """One cell in both runs; its verdict is the worst judged change, or that of its outcomes."""

    cell: Cell
    base: Outcome | None  # None: the run has no result of this cell
    candidate: Outcome | None
    verdict: Verdict
    reason: str | None
    changes: tuple[Change, ...]  # empty unless both outcomes are `ok`


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs of one suite, side by side."""

    base: str  # run id
    candidate: str
    differences: tuple[Difference, ...]  # those that forbid a comparison of times come first
    cells: tuple[CellComparison, ...]  # of either run, by phase, contender and length

    @property
    def counts(self) -> dict[Verdict, int]:
        """Number of cells by verdict, worst first; verdicts that do not occur are left out."""
        found = [cell.verdict for cell in self.cells]
        return {verdict: found.count(verdict) for verdict in Verdict if verdict in found}

    @property
    def comparable(self) -> bool:
        """Whether anything could be compared."""
        return any(
            cell.verdict not in (Verdict.MISSING, Verdict.INCOMPARABLE) for cell in self.cells
        )

    def mean_ratio(self, metric: str) -> float | None:
        """Return the geometric mean of the comparable ratios of a metric; None without any."""
        changes = [change for cell in self.cells for change in cell.changes]
        ratios = [
            change.ratio.value
            for change in changes
            if change.metric == metric and change.verdict is not Verdict.INCOMPARABLE
            if change.ratio is not None and change.ratio.value
        ]
        return stats.geometric_mean(ratios) if ratios else None


def compare_runs(base: Run, candidate: Run) -> Comparison:
    """Compare two runs; noise bands are the base's gate, else the candidate's, else defaults.

    The base's gate goes first so that a change cannot widen the band it is judged by.
    """
    bands = _bands(candidate) | _bands(base)
    judged = {*JUDGED, *bands, *base.header.metrics, *candidate.header.metrics}
    ours, theirs = base.by_cell, candidate.by_cell
    both = {result.cell.id: result.cell for run in (base, candidate) for result in run.results}
    cells = [
        compare_results(
            before := ours.get(cell.id),
            after := theirs.get(cell.id),
            bands=bands,
            judged=judged,
            differing=differing(environment_of(base, before), environment_of(candidate, after)),
        )
        for cell in in_order(both.values(), base, candidate)
    ]
    return Comparison(
        base=base.header.run_id,
        candidate=candidate.header.run_id,
        differences=(*differences(base, candidate), *_sources(base, candidate)),
        cells=tuple(cells),
    )


def compare_results(
    base: Result | None,
    candidate: Result | None,
    *,
    bands: Mapping[str, float],
    judged: Collection[str] = JUDGED,
    differing: Sequence[str] = (),
) -> CellComparison:
    """Compare the two results of one cell.

    Args:
        base: what is compared with; None where the run has none.
        candidate: what is judged; None where the run has none.
        bands: relative noise band by metric; other metrics take the default of their unit.
        judged: metrics that count for the verdict.
        differing: conditions that are not the same on both sides and forbid something.

    Raises:
        ValueError: neither run has the cell.
    """
    some = base or candidate
    if some is None:
        raise ValueError("a comparison needs a result on one side at least")
    changes: tuple[Change, ...] = ()
    if base is None or candidate is None:
        side = "base" if base is None else "candidate"
        verdict, reason = Verdict.MISSING, f"the {side} has no result of this cell"
    elif base.outcome is candidate.outcome is Outcome.OK:
        ours, theirs = _measured(base), _measured(candidate)
        changes = tuple(
            change(
                ours.get(name),
                theirs.get(name),
                band=bands.get(name),
                differing=differing,
                judged=name in judged,
            )
            for name in dict.fromkeys([*ours, *theirs])
        )
        verdict, reason = _worst(changes)
    else:
        verdict, reason = _outcomes(base, candidate)
    return CellComparison(
        cell=some.cell,
        base=base.outcome if base else None,
        candidate=candidate.outcome if candidate else None,
        verdict=verdict,
        reason=reason,
        changes=changes,
    )


def _sources(base: Run, candidate: Run) -> list[Difference]:
    """Return whose code is not the same in both runs: that is what is compared, mostly."""
    ours, theirs = _fingerprints(base), _fingerprints(candidate)
    return [
        Difference(
            key=f"source of {name}", base=ours[name], candidate=theirs[name], forbids="nothing"
        )
        for name in sorted(ours.keys() & theirs.keys())
        if ours[name] != theirs[name]
    ]


def _fingerprints(run: Run) -> dict[str, str]:
    """Return the fingerprints of the variants' files and of all models, by name."""
    found = {
        str(result.facts["attention"]): str(result.facts["source"])
        for result in run.results
        if "source" in result.facts
    }
    all_of = [str(r.facts["models_source"]) for r in run.results if "models_source" in r.facts]
    return {**found, **({"models": all_of[-1]} if all_of else {})}


def _bands(run: Run) -> dict[str, float]:
    """Return the noise bands that a suite's gate names: `{metric: {regress_over: share}}`."""
    found: dict[str, float] = {}
    gate: Mapping[str, Any] = run.header.gate
    for metric, rule in gate.items():
        if isinstance(rule, Mapping) and "regress_over" in rule:
            found[metric] = float(cast("Mapping[str, Any]", rule)["regress_over"])
    return found


def _measured(result: Result) -> dict[str, Measurement]:
    """Return measurements by metric, the number of parameters among them."""
    found = {m.metric: m for m in result.measurements if m.samples}
    parameters = result.facts.get("parameters")
    if isinstance(parameters, int):
        found["parameters"] = Measurement(
            metric="parameters", unit="1", better="lower", samples=(parameters,), method="counted"
        )
    return found


def _worst(changes: Sequence[Change]) -> tuple[Verdict, str | None]:
    counting = [change for change in changes if change.judged]
    if not counting:
        return Verdict.MISSING, "neither run measured what is judged"
    worst = min(counting, key=lambda change: list(Verdict).index(change.verdict))
    if worst.verdict is Verdict.UNCHANGED:
        return worst.verdict, None
    return worst.verdict, f"{worst.metric}: {worst.reason}" if worst.reason else worst.metric


def _outcomes(base: Result, candidate: Result) -> tuple[Verdict, str]:
    """Return the verdict where at least one side has no number.

    A length that was reached and is no longer is a regression, the reverse an improvement. Two
    failures of the same kind are unchanged, of different kinds inconclusive.
    """
    told = f"{_said(base)} -> {_said(candidate)}"
    if base.outcome is candidate.outcome:
        return Verdict.UNCHANGED, f"{_said(base)} in both"
    if base.outcome is Outcome.OK:
        skipped = candidate.outcome is Outcome.SKIPPED
        return (Verdict.MISSING if skipped else Verdict.REGRESSED), told
    if candidate.outcome is Outcome.OK:
        return (Verdict.MISSING if base.outcome is Outcome.SKIPPED else Verdict.IMPROVED), told
    return Verdict.INCONCLUSIVE, told


def _said(result: Result) -> str:
    return result.outcome.value.replace("_", " ")
