"""Two runs compared, as a reader wants it: counts, rows worst first, Markdown. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dashboard import theme
from harness.compare import CellComparison, Comparison

WORDS = {  # verdict -> what it means, on the page
    "regressed": "worse",
    "missing": "missing on a side",
    "incomparable": "not comparable",
    "inconclusive": "cannot tell",
    "improved": "better",
    "unchanged": "unchanged",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric of one cell on both sides."""

    cell_id: str
    label: str  # contender, phase, length
    metric: str
    unit: str
    better: str
    verdict: str
    reason: str
    base: float | None
    candidate: float | None
    ratio: float | None  # candidate / base
    lo: float | None
    hi: float | None
    band: float  # relative noise band

    @property
    def gain(self) -> float | None:
        """How many times better the candidate is; below one where it is worse."""
        if not self.ratio:
            return None
        return 1 / self.ratio if self.better == "lower" else self.ratio


def metrics(comparison: Comparison) -> list[str]:
    """Return the metrics that both runs have, those that are judged first."""
    judged: dict[str, bool] = {}
    for cell in comparison.cells:
        for change in cell.changes:
            judged[change.metric] = judged.get(change.metric, False) or change.judged
    order = ["latency", "peak_memory"]
    return sorted(
        judged, key=lambda name: (not judged[name], order.index(name) if name in order else 9, name)
    )


def rows(comparison: Comparison, metric: str) -> list[Row]:
    """Return the cells that have a change of this metric, worst first."""
    names = labels([cell.cell for cell in comparison.cells])
    found = [
        _row(cell, change, names[cell.cell.id])
        for cell in comparison.cells
        for change in cell.changes
        if change.metric == metric
    ]
    severity = list(WORDS)
    return sorted(found, key=lambda row: (severity.index(row.verdict), row.gain or 1.0))


def labels(cells: Sequence[Any]) -> dict[str, str]:
    """Return what each cell is called: with its options where contender and length do not do."""
    short = {of.id: f"{of.contender} {of.phase} {theme.length(of.seq_len)}" for of in cells}
    times = Counter(short.values())
    return {
        of.id: short[of.id]
        if times[short[of.id]] == 1
        else f"{short[of.id]} {' '.join(f'{k}={v}' for k, v in sorted(of.options.items()))}".strip()
        for of in cells
    }


def without(comparison: Comparison) -> list[CellComparison]:
    """Return the cells that have no number on one side at least."""
    return [cell for cell in comparison.cells if not cell.changes]


def excluded(comparison: Comparison) -> str:
    """Say how many cells take part and why the others do not: `41 of 48 cells; ...`."""
    left = without(comparison)
    told = Counter(_why(cell) for cell in left)
    some = ", ".join(f"{n} {why}" for why, n in told.most_common())
    total = len(comparison.cells)
    return f"{total - len(left)} of {total} cells have numbers on both sides" + (
        f"; {len(left)} do not: {some}." if left else "."
    )


def counts(found: Sequence[Row]) -> dict[str, int]:
    """Return the number of rows by verdict, all verdicts named."""
    told = Counter(row.verdict for row in found)
    return {verdict: told.get(verdict, 0) for verdict in WORDS}


def headline(found: Sequence[Row]) -> str:
    """Return the finding: the largest change for the worse and for the better, or that none is."""
    told = counts(found)
    parts = [
        sentence(next(row for row in found if row.verdict == verdict))
        for verdict in ("regressed", "improved")
        if told[verdict]
    ]
    if parts:
        return f"Largest: {'; '.join(parts)}."
    unsure = told["inconclusive"]
    if unsure:
        return f"No change is shown; in {unsure} cells the samples cannot tell."
    return "No change is shown." if told["unchanged"] else "Nothing here can be compared."


def sentence(row: Row) -> str:
    """Return one change in words: `local forward 8k: 1.21x slower (95 % interval 1.18 to 1.24)`."""
    if row.ratio is None:
        return f"{row.label}: {row.reason or WORDS[row.verdict]}"
    interval = ""
    if row.lo and row.hi:
        lo, hi = sorted(_times(bound) for bound in (row.lo, row.hi))
        interval = f" (95 % interval {lo} to {hi})"
        if row.lo <= 1 <= row.hi:
            return f"{row.label}: no difference can be shown (ratio {row.lo:.3g} to {row.hi:.3g})"
    return f"{row.label}: {factor(row)}{interval}"


def factor(row: Row) -> str:
    """Return the size and direction of a change in words: `1.21x slower`."""
    if row.ratio is None:
        return "no ratio"
    words = theme.metric(row.metric)
    improved = (row.gain or 1) > 1
    return f"{_times(row.ratio)}{theme.TIMES} {words.comparative if improved else words.worse}"


def brief(row: Row) -> str:
    """Return a change as it stands beside its interval: its size, or that none can be shown."""
    if row.lo is not None and row.hi is not None and row.lo <= 1 <= row.hi:
        return WORDS[row.verdict]
    return f"{factor(row)} · {WORDS[row.verdict]}"


def table(found: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows for a table on the page or in a file."""
    return [
        {
            "cell": row.label,
            "verdict": WORDS[row.verdict],
            "base": _text(row.base, row.unit),
            "candidate": _text(row.candidate, row.unit),
            "ratio": _short(row.ratio),
            "low": _short(row.lo),
            "high": _short(row.hi),
            "in words": factor(row) if row.ratio else "",
            "reason": row.reason,
            "id": row.cell_id,
        }
        for row in found
    ]


def markdown(comparison: Comparison, metric: str) -> str:
    """Return the comparison of one metric as Markdown that shows every name as it is."""
    found = rows(comparison, metric)
    told = ", ".join(f"{n} {WORDS[verdict]}" for verdict, n in counts(found).items() if n)
    head = [
        f"## {theme.metric(metric).quantity}: {plain(comparison.candidate)} against "
        f"{plain(comparison.base)}",
        "",
        f"{told or 'nothing to compare'}. {excluded(comparison)}",
    ]
    if comparison.differences:
        keys = ", ".join(plain(d.key) for d in comparison.differences)
        head.append(f"The environments differ in: {keys}.")
    head += ["", *theme.markdown_table([_for_markdown(line) for line in table(found)])]
    return "\n".join(head) + "\n"


def plain(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return theme.escape(text)


def _for_markdown(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key != "id"}


def _row(cell: CellComparison, change: Any, label: str) -> Row:
    ratio = change.ratio
    interval = ratio.interval if ratio else None
    of = cell.cell
    return Row(
        cell_id=of.id,
        label=label,
        metric=change.metric,
        unit="s" if change.unit == "ns" else change.unit,
        better=change.better,
        verdict=str(change.verdict),
        reason=change.reason or "",
        base=_si(ratio.base, change.unit) if ratio else None,
        candidate=_si(ratio.candidate, change.unit) if ratio else None,
        ratio=ratio.value if ratio else None,
        lo=interval.lo if interval else None,
        hi=interval.hi if interval else None,
        band=change.band,
    )


def _si(value: float, unit: str) -> float:
    return value / 1e9 if unit == "ns" else value


def _why(cell: CellComparison) -> str:
    sides = [
        str(side).replace("_", " ") if side else "missing" for side in (cell.base, cell.candidate)
    ]
    ended = [side for side in sides if side != "ok"]
    return ended[0] if len(set(ended)) == 1 else " / ".join(sides)


def _times(ratio: float) -> str:
    return theme.digits(ratio if ratio >= 1 else 1 / ratio)


def _text(value: float | None, unit: str) -> str:
    return "" if value is None else theme.quantity(value, unit)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
