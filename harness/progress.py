"""Live progress of a run: which cell, which pass, how many are done, how much time is left."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.text import Text

from harness.launches import COUNT
from harness.schema import Cell, Outcome, Protocol, Result
from harness.telling import units, words

_GROWTH = 1.5  # assumed exponent of a cell's time in its length, between linear and quadratic


class Estimator:
    """Guesses how long the cells that are left will take, from those that are done."""

    def __init__(self, cells: Sequence[Cell], protocol: Protocol) -> None:
        self._left = {cell.id: cell for cell in cells}
        self._known = set(self._left)
        self._protocol = protocol
        self._seen: list[tuple[Cell, float]] = []

    def add(self, cell: Cell) -> bool:
        """Expect one more cell; say whether it was unknown."""
        is_new = cell.id not in self._known
        self._known.add(cell.id)
        self._left.setdefault(cell.id, cell)
        return is_new

    def done(self, result: Result) -> None:
        """Take a finished cell into account."""
        self._left.pop(result.cell.id, None)
        if result.wall_ns:
            self._seen.append((result.cell, result.wall_ns / 1e9))

    def left_s(self) -> float | None:
        """Return the guessed seconds left, or None before anything is known."""
        if not self._seen:
            return None
        return sum(self._guess(cell) for cell in self._left.values())

    def _guess(self, cell: Cell) -> float:
        alike = [(c, s) for c, s in self._seen if _alike(c, cell)]
        if not alike:
            return statistics.median(s for _, s in self._seen)
        nearest, seconds = min(alike, key=lambda seen: abs(seen[0].seq_len - cell.seq_len))
        grown = seconds * (cell.seq_len / nearest.seq_len) ** _GROWTH
        return min(grown, self._protocol.timeout_s)


class Progress:
    """Prints one line per finished cell and, on a terminal, a status line that is rewritten.

    It prints only when something happens: a thread that repaints would take processor time from
    the cell that is being measured.
    """

    def __init__(
        self,
        console: Console,
        cells: Sequence[Cell],
        protocol: Protocol,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._total = len(cells)
        self._done = 0
        self._estimator = Estimator(cells, protocol)
        self._clock = clock
        self._begin = clock()
        self._cell: Cell | None = None
        self._launches = protocol.launches
        self._chunked = protocol.pairing == "chunked"
        self._launch = 0  # the first pass; then the number of the launch
        self._round_began: float | None = None

    def started(self, cell: Cell) -> None:
        """Show the cell that is at work; a search finds cells that nobody planned."""
        self._total += self._estimator.add(cell)
        self._cell = cell
        self.stage("start")

    def stage(self, name: str) -> None:
        """Show the pass that the cell entered."""
        if self._console.is_terminal and self._cell is not None:
            place = f"[{self._done + 1}/{self._total}]"
            if self._launch:
                place = f"launch {self._launch} of {self._launches}"
            text = f"{place} {title(self._cell)}: {name}{self._left()}"
            width = self._console.width
            self._console.file.write("\r" + text[: width - 1].ljust(width - 1))
            self._console.file.flush()

    def ended(self, result: Result) -> None:
        """Print the line of a finished cell."""
        self._done += 1
        self._estimator.done(result)
        self._clear()
        line = f"[{self._done}/{self._total}] {title(result.cell)}: {outcome(result)}{self._left()}"
        self._console.print(Text(line), soft_wrap=True)

    def launch(self, number: int, of: int, cells: int) -> None:
        """Print that cells are timed, each by another process, and how long that may take."""
        self._clear()
        now, left = self._clock(), ""
        if self._round_began is not None:
            left = f"  ({duration((now - self._round_began) * (of - number + 1))} left)"
        self._round_began = now
        how = " in turns" if self._chunked else ""
        what = f"launch {number} of {of}: {words.count(cells, 'cell')} timed{how}{left}"
        self._console.print(Text(what), soft_wrap=True)
        self._launch, self._launches = number, of

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return self._clock() - self._begin

    def _clear(self) -> None:
        """Wipe the status line."""
        if self._console.is_terminal:
            width = self._console.width
            self._console.file.write("\r" + " " * (width - 1) + "\r")

    def _left(self) -> str:
        left = self._estimator.left_s()
        if left is None or self._done == self._total:
            return ""
        if self._chunked:
            return f"  ({duration(left)} left before timing)"
        what = f"left in launch 1 of {self._launches}" if self._launches > 1 else "left"
        return f"  ({duration(left)} {what})"


def title(cell: Cell) -> str:
    """Return what a reader needs to know a cell by."""
    what = cell.phase if cell.task is None else cell.task
    return f"{cell.contender} {what} {units.length(cell.seq_len)}"


def outcome(result: Result) -> str:
    """Return how a cell ended, in words: its score, its headline latency or its reason."""
    if result.outcome is not Outcome.OK:
        return f"{words.outcome(result.outcome)}: {words.plain(result.reason or '')}"
    for measurement in result.measurements:
        if measurement.metric == "quality":
            score, name = statistics.median(measurement.samples), result.facts.get("score")
            seeds = words.count(len(measurement.samples), "seed")
            return f"{name} {units.number(score)}, {seeds}"
    for measurement in result.measurements:
        if measurement.metric == "latency":
            middle = units.quantity(statistics.median(measurement.samples), "ns")
            return f"{middle}, {words.count(len(measurement.samples), 'sample')}"
    return "ok, to be timed" if result.facts.get(COUNT) == 0 else "ok"


def duration(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _alike(one: Cell, other: Cell) -> bool:
    keys = ("contender", "phase", "device", "task")
    return all(getattr(one, key) == getattr(other, key) for key in keys)
