"""The frontier: the longest sequence that fits a memory budget, by doubling and bisection.

Pure and without memory of its own: what is tried next follows from the results so far, so a search
that was stopped goes on where it was, and every length that was tried is an ordinary result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.codec import canonical, decode, encode
from harness.schema import Cell, Outcome, Result, Run

# A shorter sequence may do where these end a cell; where others end the first, none is tried.
OUT_OF_REACH = frozenset({Outcome.OUT_OF_MEMORY, Outcome.TIMEOUT, Outcome.IMPLIED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What to search: for each budget, the longest length that fits."""

    memory: tuple[int, ...]  # budgets in bytes
    start: int  # first length that is tried
    limit: int  # longest length that is tried
    resolution: int  # all lengths are multiples; the frontier is known to this


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Where one contender's fitting lengths end."""

    longest: Result | None  # every shorter length that was tried fits too; None: nothing fits
    failing: Result | None  # the shortest that does not fit; None: the limit was reached
    beyond: tuple[int, ...]  # lengths above the failing one that fit all the same
    complete: bool  # the search has ended

    @property
    def length(self) -> int:
        """The longest length that fits; 0 where none does."""
        return self.longest.cell.seq_len if self.longest else 0


def settings(run: Run) -> Search | None:
    """Return what a run searches; None for a run over a grid."""
    return None if run.header.frontier is None else decode(Search, run.header.frontier)


def next_length(outcomes: Mapping[int, Outcome], search: Search) -> int | None:
    """Return the length to try after these outcomes by length, or None where the search ends.

    Lengths double from the start until one fails; then the gap between the longest that fits and
    the shortest that fails is halved until it is the resolution. Last, one length above the
    failing one is tried, as a check that what fails stays failing. That makes at most
    2 log2(limit / resolution) + 3 lengths.
    """
    failing = _failing(outcomes)
    longest = _longest(outcomes, failing)
    if failing is None:
        if not outcomes:
            return search.start
        return None if longest >= search.limit else min(2 * longest, search.limit)
    if not longest and outcomes[failing] not in OUT_OF_REACH:
        return None
    gap = (failing - longest) // search.resolution
    if gap > 1:
        return longest + gap // 2 * search.resolution
    above = failing + search.resolution
    return above if longest and above <= search.limit and above not in outcomes else None


def next_cells(
    starts: Iterable[Cell], results: Iterable[Result], search: Search
) -> tuple[Cell, ...]:
    """Return the next cell of every search that has not ended.

    Args:
        starts: a cell of each search.
        results: all there are, of any search, those of cells that are left out included.
        search: between which lengths, and how finely.
    """
    known = lines(results)
    cells: list[Cell] = []
    for cell in starts:
        outcomes = {n: r.outcome for n, r in known.get(line(cell), {}).items()}
        length = next_length(outcomes, search)
        if length is not None:
            cells.append(replace(cell, seq_len=length))
    return tuple(cells)


def edge(results: Mapping[int, Result], search: Search) -> Edge:
    """Return where the fitting lengths of one search end, as far as it went."""
    outcomes = {n: result.outcome for n, result in results.items()}
    failing = _failing(outcomes)
    longest = _longest(outcomes, failing)
    fitting = (n for n, outcome in outcomes.items() if outcome is Outcome.OK)
    return Edge(
        longest=results.get(longest),
        failing=None if failing is None else results[failing],
        beyond=tuple(sorted(n for n in fitting if failing is not None and n > failing)),
        complete=next_length(outcomes, search) is None,
    )


def edges(run: Run) -> tuple[Edge, ...]:
    """Return the edge of every search of a run; none for a run over a grid."""
    search = settings(run)
    if search is None:
        return ()
    return tuple(edge(found, search) for found in lines(run.results).values())


def lines(results: Iterable[Result]) -> dict[str, dict[int, Result]]:
    """Return results by search and length."""
    found: dict[str, dict[int, Result]] = {}
    for result in results:
        found.setdefault(line(result.cell), {})[result.cell.seq_len] = result
    return found


def line(cell: Cell) -> str:
    """Return the name of a cell's search: everything of it but its length."""
    told = encode(cell)
    del told["seq_len"]
    return canonical(told)


def _failing(outcomes: Mapping[int, Outcome]) -> int | None:
    return min((n for n, outcome in outcomes.items() if outcome is not Outcome.OK), default=None)


def _longest(outcomes: Mapping[int, Outcome], failing: int | None) -> int:
    fitting: Sequence[int] = [n for n, outcome in outcomes.items() if outcome is Outcome.OK]
    return max((n for n in fitting if failing is None or n < failing), default=0)
