"""Values to text: what the verbs of the command line show. Functions return; only `cli` prints.

Nothing depends on colour. A table that is wider than the terminal is split by columns, never cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from harness.checking import FAULTY
from harness.checking import Finding as LawFinding
from harness.compare import Comparison
from harness.gate import Verdict
from harness.history import Series
from harness.judging.panels import REPORTED
from harness.schema import Cell, Result, Run
from harness.store import RunSummary
from harness.telling import checkup, details, frontiers, gate_sheets, profiles, words
from harness.telling.answer import answer as answer_in_words
from harness.telling.checkup import Finding
from harness.telling.tables import Sheet
from harness.telling.words import plain

GAP = 3  # between two columns


@dataclass(frozen=True, slots=True)
class Drawing:
    """A sheet as a table that fits the terminal it is printed on; texts are never markup."""

    sheet: Sheet

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw title, blocks of columns and notes."""
        if self.sheet.title:
            yield Text(plain(self.sheet.title), style="bold")
        for block in _blocks(self.sheet, options.max_width):
            yield _table(self.sheet, block, options.max_width)
        for note in self.sheet.notes:
            yield Text(plain(note), style="dim")
        yield Text("")


def tables(run: Run, wanted: Sequence[str] = REPORTED) -> list[Drawing]:
    """Return the tables of a run: medians, growth and crossovers, or the frontier it searched."""
    return [Drawing(sheet) for sheet in frontiers.shown(run, wanted)]


def answer(run: Run) -> Text:
    """Return the answer to the suite's question in plain sentences."""
    return Text(answer_in_words(run))


def finding(one: LawFinding) -> Text:
    """Return what came of one law on a variant's file."""
    place = f"{one.form}: " if one.form else ""
    return Text(
        plain(f"{one.outcome:<11} {place}{one.law}" + (f": {one.detail}" * bool(one.detail)))
    )


def verdict_of_laws(findings: Sequence[LawFinding]) -> Text:
    """Return how many laws hold, and what to do next."""
    counts = Counter(one.outcome for one in findings)
    faulty = sum(counts[name] for name in FAULTY)
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    if faulty:
        return Text(f"{told}: mend the file before you measure it")
    return Text(f"{told}: ready to be measured with --plugin")


def run(run: Run) -> Group:
    """Return a run in full: what was asked, the conditions, every cell, tables and answer."""
    drawings: list[RenderableType] = [Drawing(sheet) for sheet in details.run_sheets(run)]
    return Group(*drawings, *tables(run), answer(run))


def cell(run: Run, result: Result) -> Group:
    """Return one cell in full: outcome, samples, facts and environment."""
    return Group(*(Drawing(sheet) for sheet in details.cell_sheets(run, result)))


def profile(run: Run, result: Result, files: Sequence[Path]) -> Group:
    """Return where the time of a cell goes, how near its device's peak it comes, and its files."""
    environment = run.environments.get(result.environment or "")
    sheets = [
        details.ending_sheet(result),
        *profiles.profile_sheets(result, environment, files),
    ]
    return Group(*(Drawing(sheet) for sheet in sheets))


def comparison(found: Comparison, *, every: bool = False) -> Group:
    """Return what differs in the environments, then every cell with its ratios and verdicts.

    Args:
        found: what to tell.
        every: tell also of metrics that only explain and are not judged.
    """
    return Group(*(Drawing(each) for each in details.comparison_sheets(found, every=every)))


def gate(verdict: Verdict, *, every: bool = False) -> Group:
    """Return a gate's verdict: conditions that differ, what is worst first, one sentence."""
    return Group(*(Drawing(each) for each in gate_sheets.sheets(verdict, every=every)))


def history(found: Sequence[Series], runs: int) -> Drawing:
    """Return the change points over a folder of runs."""
    return Drawing(gate_sheets.history_sheet(found, runs))


def examination(found: Sequence[Finding]) -> Drawing:
    """Return what of a machine makes numbers noisy, with advice."""
    return Drawing(checkup.sheet(found))


def plan(cells: Sequence[Cell], estimates: Mapping[str, str] | None = None) -> Drawing:
    """Return the cells that a run would measure, in order; estimates are texts by cell id."""
    return Drawing(details.plan_sheet(cells, estimates))


def listing(lines: Iterable[Sequence[str]]) -> Drawing:
    """Return a plain list: a name and what there is to say of it, one line each."""
    rows = tuple(tuple(line) for line in lines)
    header = ("",) * max(map(len, rows), default=1)
    return Drawing(Sheet(title="" if rows else "none", header=header, rows=rows))


def run_lines(summaries: Iterable[RunSummary]) -> list[tuple[str, str]]:
    """Return a line about each run: its id, how it stands, how its cells ended."""
    return [(run.run_id, _standing(run)) for run in summaries]


def _standing(summary: RunSummary) -> str:
    if summary.problem is not None:
        return f"{summary.state}: {summary.problem}"
    ended = [f"{n} {name.replace('_', ' ')}" for name, n in sorted(summary.outcomes.items())]
    cells = f"{sum(summary.outcomes.values())} of {words.count(summary.planned, 'cell')}"
    told = f" ({', '.join(ended)})" if ended else ""
    return f"{summary.state}, {summary.created_at}, {cells}{told}"


def _table(sheet: Sheet, columns: Sequence[int], width: int) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    drawn.show_header = any(sheet.header)
    for column, share in zip(columns, _widths(sheet, columns, width), strict=True):
        drawn.add_column(Text(plain(sheet.header[column])), overflow="fold", width=share)
    for row in sheet.rows:
        drawn.add_row(*(Text(plain(row[column])) for column in columns))
    return drawn


def _blocks(sheet: Sheet, width: int) -> list[list[int]]:
    """Split columns into blocks that fit when cells wrap between words; the first one repeats."""
    needs = [_longest(sheet, i, by_word=True) + GAP for i in range(len(sheet.header))]
    blocks: list[list[int]] = [[0]]
    for column in range(1, len(needs)):
        if len(blocks[-1]) > 1 and sum(needs[i] for i in [*blocks[-1], column]) - GAP > width:
            blocks.append([0])
        blocks[-1].append(column)
    return blocks


def _widths(sheet: Sheet, columns: Sequence[int], width: int) -> list[int]:
    """Share a width: each column gets its longest word, then one text after the other its rest.

    Columns that need little are served first. `rich` would shrink all in proportion and so break
    words and short texts.
    """
    given = [_longest(sheet, i, by_word=True) for i in columns]
    more = [_longest(sheet, i, by_word=False) - n for i, n in zip(columns, given, strict=True)]
    left = width - sum(given) - GAP * (len(columns) - 1)
    if left < 0:
        return [min(need, max(1, (width - GAP) // 2)) for need in given]
    order = sorted(range(len(columns)), key=more.__getitem__)
    for served, i in enumerate(order):
        extra = min(more[i], left // (len(order) - served))
        given[i] += extra
        left -= extra
    return given


def _longest(sheet: Sheet, column: int, *, by_word: bool) -> int:
    texts = [plain(row[column]) for row in (sheet.header, *sheet.rows)]
    parts = (part for text in texts for part in (text.split() if by_word else [text]))
    return max(map(len, parts), default=1) or 1
