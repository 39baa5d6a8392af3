"""A run as curves: cells that differ only in contender and length share a panel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.codec import canonical, encode
from harness.schema import PHASES, Cell, Measurement, Outcome, Result, Run

HEADLINES = ("latency", "peak_memory")  # what a run is judged by first
REPORTED = (*HEADLINES, "error", "attention_recall")  # what tables show, where it was measured
OF_A_LINE = frozenset({"contender", "model", "attention", "impl", "options", "seq_len"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One contender's cells in a panel."""

    label: str  # the contender's id; with the options that tell it from others of the same id
    cells: Mapping[int, Cell]  # by length, as planned
    results: Mapping[int, Result]  # by length; a planned cell without one has not been run

    def measured(self, length: int, metric: str) -> Measurement | None:
        """Return what was measured of a cell that ended well, or None.

        `throughput` is derived: tokens per second, from the latency of each sample.
        """
        result = self.results.get(length)
        if result is None or result.outcome is not Outcome.OK:
            return None
        return measured(result, metric)

    def samples(self, length: int, metric: str) -> tuple[float, ...] | None:
        """Return the samples of `measured`, or None."""
        found = self.measured(length, metric)
        return None if found is None else found.samples

    def curve(self, metric: str) -> dict[int, Measurement]:
        """Return what was measured by length where it is positive, so that logarithms exist."""
        found = {n: self.measured(n, metric) for n in sorted(self.results)}
        return {n: each for n, each in found.items() if each and min(each.samples) > 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Cells of one phase and shape; the first line is the baseline."""

    phase: str
    shape: Mapping[str, Any]  # fields of the cell in which this panel differs from others
    lengths: tuple[int, ...]
    lines: tuple[Line, ...]

    @property
    def baseline(self) -> Line:
        """The line that others are compared with."""
        return self.lines[0]

    @property
    def title(self) -> str:
        """The phase, and what tells this panel from others of the same phase."""
        return ", ".join([self.phase, *(f"{key} {value}" for key, value in self.shape.items())])

    def common_lengths(self, metric: str) -> list[int]:
        """Return the lengths at which every line that has the metric at all has it."""
        curves = [curve for line in self.lines if (curve := line.curve(metric))]
        return [n for n in self.lengths if curves and all(n in curve for curve in curves)]


def panels(run: Run) -> tuple[Panel, ...]:
    """Return the panels of a run: phases in the order of the schema, contenders in the suite's."""
    results = run.by_cell
    cells = {cell.id: cell for cell in (*run.header.cells, *(r.cell for r in run.results))}
    groups: dict[str, list[Cell]] = {}
    for cell in cells.values():
        groups.setdefault(canonical(_shape(cell)), []).append(cell)
    shapes = [_shape(group[0]) for group in groups.values()]
    varying = (
        [
            key
            for key in shapes[0]
            if key != "phase" and len({canonical(s[key]) for s in shapes}) > 1
        ]
        if shapes
        else []
    )
    order = [contender.id for contender in run.header.contenders]
    found = [_panel(group, results, order, varying) for group in groups.values()]
    return tuple(
        sorted(found, key=lambda panel: (_rank(PHASES, panel.phase), canonical(dict(panel.shape))))
    )


def in_order(cells: Iterable[Cell], *runs: Run) -> list[Cell]:
    """Return cells as people read them: by phase, contender as the suites list them, and length.

    Cells are planned in random order, so that no contender gains by its place.
    """
    names = list(dict.fromkeys(c.id for run in runs for c in run.header.contenders))
    return sorted(
        cells, key=lambda c: (_rank(PHASES, c.phase), _rank(names, c.contender), c.seq_len, c.id)
    )


def metrics(run: Run, wanted: Sequence[str] = HEADLINES) -> list[str]:
    """Return those of the wanted metrics that the run was asked for or has."""
    found = {m.metric for result in run.results for m in result.measurements}
    found |= set(run.header.metrics)
    return [
        name for name in wanted if name in found or (name == "throughput" and "latency" in found)
    ]


def measured(result: Result, metric: str) -> Measurement | None:
    """Return one metric of a result whatever its outcome, or None."""
    if metric == "throughput":
        latency = measured(result, "latency")
        if latency is None or min(latency.samples) <= 0:
            return None
        rates = tuple(result.cell.tokens * 1e9 / step for step in latency.samples)
        return replace(latency, metric=metric, better="higher", samples=rates)
    return next((m for m in result.measurements if m.metric == metric and m.samples), None)


def samples(result: Result, metric: str) -> tuple[float, ...] | None:
    """Return the samples of `measured`, or None."""
    found = measured(result, metric)
    return None if found is None else found.samples


def unit(run: Run, metric: str) -> str:
    """Return the unit of a metric as the run measured it."""
    if metric == "throughput":
        return "token/s"
    found = (m for result in run.results for m in result.measurements if m.metric == metric)
    return next((m.unit for m in found), "1")


def _shape(cell: Cell) -> dict[str, Any]:
    return {key: value for key, value in encode(cell).items() if key not in OF_A_LINE}


def _panel(
    cells: list[Cell], results: Mapping[str, Result], order: list[str], varying: list[str]
) -> Panel:
    lines: dict[str, list[Cell]] = {}
    labels = _labels(cells)
    ranked = sorted(cells, key=lambda c: (_rank(order, c.contender), _numbered(labels[c.id])))
    for cell in ranked:
        lines.setdefault(labels[cell.id], []).append(cell)
    shape = _shape(cells[0])
    return Panel(
        phase=cells[0].phase,
        shape={key: shape[key] for key in varying},
        lengths=tuple(sorted({cell.seq_len for cell in cells})),
        lines=tuple(_line(label, group, results) for label, group in lines.items()),
    )


def _line(label: str, cells: list[Cell], results: Mapping[str, Result]) -> Line:
    planned = {cell.seq_len: cell for cell in sorted(cells, key=lambda cell: cell.seq_len)}
    done = {n: results[cell.id] for n, cell in planned.items() if cell.id in results}
    return Line(label=label, cells=planned, results=done)


def _labels(cells: list[Cell]) -> dict[str, str]:
    """Return a label by cell id: the contender, and its options where these vary within it."""
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for cell in cells:
        kinds.setdefault(cell.contender, []).append({"impl": cell.impl, **cell.options})
    varying = {
        contender: [
            key
            for key in sorted({key for option in options for key in option})
            if len({canonical(encode(option.get(key))) for option in options}) > 1
        ]
        for contender, options in kinds.items()
    }
    labels: dict[str, str] = {}
    for cell in cells:
        own = {"impl": cell.impl, **cell.options}
        told = [f"{key}={own.get(key)}" for key in varying[cell.contender]]
        labels[cell.id] = " ".join([cell.contender, *told])
    return labels


def _numbered(label: str) -> list[tuple[int, str]]:
    """Return a key that sorts `hashes=8` before `hashes=16`."""
    parts = re.split(r"(\d+)", label)
    return [(int(part) if part.isdigit() else -1, part) for part in parts]


def _rank(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)
