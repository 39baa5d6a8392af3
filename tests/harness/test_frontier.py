"""Laws of the search for the longest sequence that fits, in worlds of outcomes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import frontier, planning, runner
from harness.codec import decode, encode
from harness.frontier import Edge, Search
from harness.schema import Cell, Job, Outcome, Protocol, Result, RunHeader

World = Callable[[int], Outcome]
SEARCH = Search(memory=(1 << 30,), start=8, limit=1 << 12, resolution=4)
CELL = Cell(
    contender="a", model="transformer", attention="full", impl="sdpa", phase="forward", seq_len=8,
    batch=1, d_model=8, heads=2, d_ff=16, layers=1, vocab=256, causal=True, dtype="float32",
    device="cpu", threads=1, data="stdlib", seed=0, memory_bytes=1 << 30,
)  # fmt: skip
FAILURES = [outcome for outcome in Outcome if outcome is not Outcome.OK]
BROKEN = sorted(set(FAILURES) - frontier.OUT_OF_REACH)


def ending(at: int, outcome: Outcome = Outcome.OUT_OF_MEMORY) -> World:
    """A world in which lengths up to `at` fit."""
    return lambda n: Outcome.OK if n <= at else outcome


def explore(world: World, search: Search = SEARCH) -> dict[int, Outcome]:
    """Search a world to the end; a length tried twice would never end."""
    outcomes: dict[int, Outcome] = {}
    while (length := frontier.next_length(outcomes, search)) is not None:
        assert length not in outcomes
        outcomes[length] = world(length)
    return outcomes


def edge(outcomes: dict[int, Outcome], search: Search = SEARCH) -> Edge:
    return frontier.edge({n: result(n, outcome) for n, outcome in outcomes.items()}, search)


def result(length: int, outcome: Outcome, of: Cell = CELL) -> Result:
    reason = None if outcome is Outcome.OK else "told so"
    return Result(cell=replace(of, seq_len=length), outcome=outcome, reason=reason)


@st.composite
def searches(draw: st.DrawFn) -> Search:
    resolution = draw(st.integers(1, 64))
    limit = draw(st.integers(1, 5000))
    start = draw(st.integers(1, limit))
    return Search(
        memory=(1,), start=start * resolution, limit=limit * resolution, resolution=resolution
    )


@given(searches(), st.integers(0, 400_000))
def test_a_monotone_world_yields_its_frontier_exactly_at_the_resolution(
    search: Search, at: int
) -> None:
    found = edge(explore(ending(at), search), search)
    exact = min(at, search.limit) // search.resolution * search.resolution
    assert (found.length, found.complete, found.beyond) == (exact, True, ())
    if exact < search.limit:
        assert found.failing is not None
        assert found.failing.cell.seq_len == exact + search.resolution
    else:
        assert found.failing is None


@given(searches(), st.randoms(use_true_random=False))
def test_a_world_without_order_ends_too_and_yields_neighbours(search: Search, dice) -> None:
    outcomes = explore(lambda _: dice.choice([Outcome.OK, Outcome.OUT_OF_MEMORY]), search)
    found = edge(outcomes, search)
    assert found.complete
    if found.failing is not None:
        assert found.failing.cell.seq_len - found.length == search.resolution
    assert all(
        outcomes[n] is Outcome.OK for n in (*found.beyond, *([found.length] * bool(found.length)))
    )


@given(searches(), st.randoms(use_true_random=False))
def test_a_search_takes_at_most_twice_the_logarithm_of_lengths_and_stays_in_bounds(
    search: Search, dice
) -> None:
    bound = 2 * math.log2(search.limit / search.resolution) + 3
    for world in (ending(dice.randint(0, 2 * search.limit)), lambda _: dice.choice(list(Outcome))):
        tried = explore(world, search)
        assert len(tried) <= bound
        assert all(n % search.resolution == 0 and 0 < n <= search.limit for n in tried)


def test_one_length_above_the_first_failure_is_tried_as_a_check() -> None:
    assert list(explore(ending(40))) == [8, 16, 32, 64, 48, 40, 44]  # 48 is known to fail
    tried = explore(ending(60))
    assert list(tried) == [8, 16, 32, 64, 48, 56, 60, 68]


def test_a_length_that_fits_above_one_that_fails_is_told() -> None:
    world = ending(60)
    found = edge(explore(lambda n: Outcome.OK if n == 68 else world(n)))
    assert (found.length, found.beyond) == (60, (68,))


@pytest.mark.parametrize("failure", FAILURES)
def test_what_ends_a_search_is_kept_apart(failure: Outcome) -> None:
    found = edge(explore(ending(100, failure)))
    assert found.length == 100
    assert found.failing is not None
    assert found.failing.outcome is failure


@pytest.mark.parametrize("failure", BROKEN)
def test_a_start_that_is_broken_is_not_tried_shorter(failure: Outcome) -> None:
    found = edge(explore(ending(0, failure)))
    assert (found.longest, found.complete) == (None, True)
    assert list(explore(ending(0, failure))) == [8]


def test_a_start_that_is_too_long_is_tried_shorter_down_to_the_resolution() -> None:
    assert list(explore(ending(0))) == [8, 4]
    assert edge(explore(ending(4))).length == 4


def test_a_frontier_beyond_the_limit_is_not_claimed() -> None:
    found = edge(explore(ending(10**9)))
    assert (found.length, found.failing, found.complete) == (SEARCH.limit, None, True)


@pytest.mark.parametrize("at", [0, 4, 60, 100, 3000, 10**9])
def test_a_search_that_stopped_anywhere_goes_on_as_if_it_had_not(at: int) -> None:
    whole = list(explore(ending(at)).items())
    for done in range(len(whole)):
        known = dict(whole[:done])
        assert not edge(known).complete or not known
        assert frontier.next_length(known, SEARCH) == whole[done][0]


def test_searches_of_contenders_phases_and_budgets_do_not_touch() -> None:
    cells = [
        replace(CELL, contender=contender, phase=phase, memory_bytes=budget)
        for contender in "ab"
        for phase in ("forward", "train_step")
        for budget in (1 << 20, 1 << 30)
    ]
    assert len({frontier.line(cell) for cell in cells}) == len(cells)
    results = [result(8, Outcome.OK, cells[0]), result(8, Outcome.ERROR, cells[1])]
    following = frontier.next_cells(cells, results, SEARCH)
    assert [cell.seq_len for cell in following] == [16, *[8] * 6]
    assert frontier.line(following[0]) == frontier.line(cells[0])


class Sink:
    """Takes everything, remembers the results."""

    def __init__(self) -> None:
        self.ended_: list[Result] = []

    def end(self, result: Result) -> None:
        self.ended_.append(result)

    def ignore(self, *_: object, **__: object) -> None:
        pass

    environment = start = abandon = started = stage = ended = launch = ignore


def plan(*cells: Cell, known: tuple[Result, ...] = ()) -> planning.Plan:
    header = RunHeader(
        run_id="x", suite="x", suite_text="", question="", command=(), created_at="",
        contenders=(), metrics=("peak_memory",), protocol=Protocol(), cells=cells,
        frontier=encode(SEARCH),
    )  # fmt: skip
    jobs = tuple(Job(cell=c, metrics=("peak_memory",), protocol=Protocol()) for c in cells)
    return planning.Plan(header=header, jobs=jobs, known=known)


def test_a_run_follows_its_searches_to_the_end_and_interleaves_them() -> None:
    ends = {"a": 40, "b": 2000}
    asked = []

    def execute(job: Job, _on_stage: Callable[[str], None]):
        asked.append((job.cell.contender, job.cell.seq_len))
        return result(
            job.cell.seq_len, ending(ends[job.cell.contender])(job.cell.seq_len), job.cell
        ), None

    begun = plan(CELL, replace(CELL, contender="b"))
    jobs, known, sink = begun.jobs, (), Sink()
    while jobs:
        known += runner.run(jobs, execute, sink, sink, known=known)
        jobs = planning.further(begun, known)
    assert asked[:4] == [("a", 8), ("b", 8), ("a", 16), ("b", 16)]
    assert len(asked) == len(set(asked))
    lines = frontier.lines(sink.ended_)
    assert [frontier.edge(found, SEARCH).length for found in lines.values()] == [40, 2000]


def test_an_out_of_memory_at_the_longest_keeps_all_that_was_measured() -> None:
    """Defect 20: one failure loses all rows."""
    outcomes = explore(ending(60))
    assert [n for n, outcome in outcomes.items() if outcome is Outcome.OK] == [
        8,
        16,
        32,
        48,
        56,
        60,
    ]


def test_a_run_over_a_grid_has_nothing_further() -> None:
    begun = plan(CELL)
    grid = replace(begun, header=replace(begun.header, frontier=None))
    assert planning.further(grid, [result(8, Outcome.OK)]) == ()


def test_the_header_carries_the_search_through_json() -> None:
    assert decode(Search, plan(CELL).header.frontier or {}) == SEARCH


def test_a_cell_without_a_budget_keeps_the_id_it_always_had() -> None:
    free = replace(CELL, memory_bytes=None)
    assert free.id == "a-forward-8-float32-cpu-850c3865"
    assert CELL.id != free.id
    assert decode(Cell, encode(CELL)) == CELL
