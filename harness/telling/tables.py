"""Tables of a run as words: medians with ratios to the baseline, growth and crossovers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness import stats
from harness.judging.change import relate
from harness.judging.panels import HEADLINES, REPORTED, Line, Panel, metrics, panels, unit
from harness.scaling import Crossover, crossover, fit_exponent
from harness.schema import Run
from harness.telling import units, words

UNCERTAIN = (
    "~ no difference from the baseline can be shown: the 95 % interval of the ratio includes 1, "
    "or there are too few launches or samples"
)

PAIRED = "pairs of launches that were timed in turns of some milliseconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table of texts that `report` draws and `export` writes."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def sheets(run: Run, wanted: Sequence[str] = REPORTED) -> list[Sheet]:
    """Return the tables of a run: per panel and metric the medians, then growth and crossover."""
    found: list[Sheet] = []
    for panel in panels(run):
        for metric in metrics(run, wanted):
            found.append(medians(panel, metric, unit(run, metric)))
            if metric in HEADLINES:
                found.append(growth(panel, metric))
    return found


def medians(panel: Panel, metric: str, unit_name: str) -> Sheet:
    """Return medians: lengths across, contenders down, each with its ratio to the baseline.

    One step of the unit serves the whole table where all numbers stay short on it, otherwise one
    a column. A cell without a number says why.
    """
    values = {
        n: [stats.median(s) for line in panel.lines if (s := line.samples(n, metric))]
        for n in panel.lengths
    }
    everything = [value for column in values.values() for value in column]
    shared = units.scale(everything, unit_name)
    one = shared.fits(everything)
    scales = {n: shared if one else units.scale(values[n], unit_name) for n in panel.lengths}
    rows = tuple(
        (
            line.label,
            *(_cell(line, n, metric, scales[n]) + _ratio(panel, line, n, metric) for n in scales),
        )
        for line in panel.lines
    )
    name = metric.replace("_", " ")
    title = f"{name} [{shared.name}]" if one and shared.name else name
    heads = (units.length(n) if one else f"{units.length(n)} [{scales[n].name}]" for n in scales)
    notes = (f"median; in brackets the ratio to {panel.baseline.label} at that length",)
    if any(m.sittings for line in panel.lines for m in line.curve(metric).values()):
        notes = (f"{notes[0]}, from {PAIRED}",)
    if any("~" in text for row in rows for text in row[1:]):
        notes += (UNCERTAIN,)
    return Sheet(title=f"{panel.title}: {title}", header=("", *heads), rows=rows, notes=notes)


def growth(panel: Panel, metric: str) -> Sheet:
    """Return, per contender, the fitted exponent and where it crosses the baseline."""
    rows = tuple(
        (line.label, *_exponent(line, metric), crossing(panel, line, metric))
        for line in panel.lines
    )
    note = (
        "n^p: least squares on log-log medians over the lengths whose median is at least four "
        "times the smallest, where fixed costs are a quarter at most; where that leaves fewer than "
        "three, over the upper half, with what may be fixed; in brackets the 95 % interval from "
        "the samples, or the range between neighbours of single values"
    )
    header = ("", "grows as", "between", "per doubling", f"below {panel.baseline.label} from")
    title = f"{panel.title}: growth of {metric.replace('_', ' ')}"
    return Sheet(title=title, header=header, rows=rows, notes=(note,))


def crossing(panel: Panel, line: Line, metric: str) -> str:
    """Return in words the length from which a line stays below the baseline."""
    if line is panel.baseline:
        return "baseline"
    lengths = shared_lengths(panel, line, metric)
    if not lengths:
        return "no length in common"
    found = find_crossover(panel, line, metric)
    if found is None:
        return f"not reached up to {units.length(lengths[-1])}{_why(panel, line, lengths[-1])}"
    if found.everywhere:
        start = f"every length, {units.length(lengths[0])} to {units.length(lengths[-1])}"
    else:
        start = f"{units.length(found.length)}{bounds(found)}"
    if found.changes > 1:
        start += f"; the order changes {found.changes} times"
    last = lengths[-1]
    sure = relate(panel.baseline.curve(metric)[last], line.curve(metric)[last]).shown
    return start if sure else f"{start}; within noise at {units.length(last)}"


def find_crossover(panel: Panel, line: Line, metric: str) -> Crossover | None:
    """Return the crossover of a line and the baseline over the lengths that both have."""
    base, other = panel.baseline.curve(metric), line.curve(metric)
    lengths = shared_lengths(panel, line, metric)
    return crossover(lengths, [base[n] for n in lengths], [other[n] for n in lengths])


def shared_lengths(panel: Panel, line: Line, metric: str) -> list[int]:
    """Return the lengths at which both the baseline and the line have the metric."""
    return sorted(panel.baseline.curve(metric).keys() & line.curve(metric).keys())


def bounds(found: Crossover) -> str:
    """Return the interval of a crossover in brackets, or nothing where it has none."""
    lo, hi = (None if bound is None else units.length(bound) for bound in (found.lo, found.hi))
    if lo and hi:
        return f" ({lo} to {hi})"
    if lo:
        return f" (at least {lo})"
    return f" (at most {hi})" if hi else ""


def _cell(line: Line, length: int, metric: str, scale: units.Scale) -> str:
    values = line.samples(length, metric)
    return _absence(line, length) if values is None else scale.text(stats.median(values))


def _ratio(panel: Panel, line: Line, length: int, metric: str) -> str:
    """Return the ratio to the baseline in brackets, or nothing where there is none."""
    base, own = panel.baseline.measured(length, metric), line.measured(length, metric)
    if line is panel.baseline or base is None or own is None:
        return ""
    ratio = relate(base, own)
    if ratio.value is None:
        return ""
    sure = ratio.shown or ratio.interval == (1, 1)
    return f" ({'' if sure else '~'}{units.ratio(ratio.value)})"


def _absence(line: Line, length: int) -> str:
    if length not in line.cells:
        return "not asked"
    result = line.results.get(length)
    if result is None:
        return "not run"
    return words.outcome(result.outcome) if result.outcome != "ok" else "not measured"


def _exponent(line: Line, metric: str) -> tuple[str, str, str]:
    curve = line.curve(metric)
    fit = fit_exponent(list(curve), list(curve.values()))
    if fit is None:
        return "fewer than 3 lengths", "-", "-"
    return (
        f"n^{fit.exponent:.2f} ({fit.lo:.2f} to {fit.hi:.2f})",
        f"{units.length(fit.from_length)} and {units.length(fit.to_length)}"
        f" (fixed: at most {units.percent(fit.fixed_share)})",
        units.ratio(fit.per_doubling),
    )


def _why(panel: Panel, line: Line, last: int) -> str:
    """Return why the comparison ends before the longest length."""
    beyond = [n for n in panel.lengths if n > last]
    if not beyond:
        return ""
    ends = [
        f"{'' if one is line else one.label + ' '}{words.outcome(result.outcome)}"
        for one in (panel.baseline, line)
        if (result := one.results.get(beyond[0])) and result.outcome != "ok"
    ]
    return f" ({words.listing(ends)} at {units.length(beyond[0])})" if ends else ""
