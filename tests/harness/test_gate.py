"""Laws of the gate: what is red, what cannot be told, what is no pass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from harness import gate
from harness.gate import Case, Mode, Terms, Verdict
from harness.judging.finding import Judgement
from harness.judging.waivers import Waiver
from harness.schema import Cell, Measurement, Outcome, Result, Run
from tests.harness.launched import timed

TODAY = date(2026, 11, 26)


@pytest.fixture
def cells(make_cell: Callable[..., Cell]) -> list[Cell]:
    """Ten cells of one contender each."""
    return [make_cell(f"c{i}", 256 + i) for i in range(10)]


@pytest.fixture
def judged(make_run: Callable[..., Run], cells: list[Cell]) -> Callable[..., Verdict]:
    """`judged(candidate results, base=..., again=..., terms=..., case=...)`."""

    def judge(
        candidate: Sequence[Result],
        base: Sequence[Result] | None = None,
        again: tuple[Sequence[Result], Sequence[Result]] | None = None,
        fields: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {}),
        terms: Mapping[str, Any] | None = None,
        **case: Any,
    ) -> Verdict:
        before = [timed(c, seed=1) for c in cells] if base is None else base
        runs = (make_run(before, fields=fields[0]), make_run(candidate, fields=fields[1]))
        ids = frozenset(c.id for c in cells)
        asked = Terms(**{"mode": Mode.PAIRED, "declared": (ids, ids)} | dict(terms or {}))
        second = None if again is None else (make_run(again[0]), make_run(again[1]))
        return gate.judge(
            Case(
                base=runs[0],
                candidate=runs[1],
                terms=asked,
                again=second,
                today=TODAY,
                **case,
            )
        )

    return judge


def same(cells: Sequence[Cell], **changes: Any) -> list[Result]:
    """The same code again."""
    return [timed(c, seed=2, **changes) for c in cells]


def of(verdict: Verdict, cell: Cell, metric: str) -> Judgement:
    """Return what a verdict says of one metric of one cell."""
    (found,) = [f for f in verdict.findings if (f.cell, f.metric) == (cell.id, metric)]
    return found.judgement


def test_the_same_code_passes(judged: Callable[..., Verdict], cells: list[Cell]) -> None:
    found = judged(same(cells))
    assert (found.verdict, found.exit_code) == ("pass", 0)
    assert found.counts[Judgement.PASS] == 3 * len(cells)  # time, memory, parameters
    assert "10 cells" in found.sentence


def test_a_slower_cell_is_a_regression_that_names_it(
    judged: Callable[..., Verdict], cells: list[Cell]
) -> None:
    found = judged([*same(cells[:-1]), timed(cells[-1], seed=2, ratio=1.2)])
    assert (found.exit_code, of(found, cells[-1], "latency")) == (1, Judgement.REGRESSION)
    assert cells[-1].id in found.sentence
    assert sum(f.is_red for f in found.findings) == 1


def test_only_fresh_data_of_a_suspicious_cell_counts(
    judged: Callable[..., Verdict], cells: list[Cell]
) -> None:
    first = [*same(cells[:-1]), timed(cells[-1], seed=2, ratio=1.2)]
    fresh = [timed(c, seed=3, launches=10) for c in cells]
    luck = judged(first, again=(fresh, [timed(c, seed=4, launches=10) for c in cells]))
    assert (luck.verdict, luck.stage) == ("pass", 2)
    slow = [timed(c, seed=4, launches=10, ratio=1.2 if c == cells[-1] else 1) for c in cells]
    confirmed = judged(first, again=(fresh, slow))
    assert confirmed.exit_code == 1
    assert [f.stage for f in confirmed.findings if f.is_red] == [2]


def test_a_missing_cell_is_a_regression(judged: Callable[..., Verdict], cells: list[Cell]) -> None:
    found = judged(same(cells[:-1]))
    assert (found.exit_code, of(found, cells[-1], "outcome")) == (1, Judgement.REGRESSION)
    assert "was not measured" in found.sentence


def test_a_cell_that_the_suite_gave_up_is_not_comparable_until_it_is_waived(
    judged: Callable[..., Verdict], cells: list[Cell]
) -> None:
    ids = [frozenset(c.id for c in some) for some in (cells, cells[:-1])]
    terms = {"declared": (ids[0], ids[1])}
    assert judged(same(cells[:-1]), terms=terms).exit_code == 4
    waiver = Waiver(
        cell="c9*", metric="outcome", reason="too slow for CI", expires=date(2027, 1, 1)
    )
    assert judged(same(cells[:-1]), terms=terms, waivers=(waiver,)).exit_code == 0


def test_an_empty_run_compares_nothing(judged: Callable[..., Verdict]) -> None:
    found = judged([])
    assert (found.verdict, found.exit_code) == ("not-comparable", 4)
    assert "nothing" in found.sentence


def test_only_failures_on_both_sides_compare_nothing(
    judged: Callable[..., Verdict], cells: list[Cell]
) -> None:
    gone = [timed(c, seed=1, outcome=Outcome.OUT_OF_MEMORY, reason="x") for c in cells]
    assert judged(gone, base=gone).exit_code == 4


@pytest.mark.parametrize("outcome", [o for o in Outcome if o not in (Outcome.OK, Outcome.SKIPPED)])
def test_whatever_is_worse_than_ok_is_a_regression(
    judged: Callable[..., Verdict], cells: list[Cell], outcome: Outcome
) -> None:
    failed = timed(cells[0], seed=2, outcome=outcome, reason="because")
    found = judged([failed, *same(cells[1:])])
    (red,) = [f for f in found.findings if f.is_red]
    assert (found.exit_code, red.kind) == (1, outcome.value)
    assert "because" in red.reason


def test_what_failed_before_and_fails_now_is_listed_and_what_works_now_is_no_alarm(
    judged: Callable[..., Verdict], cells: list[Cell]
) -> None:
    failed = timed(cells[0], seed=1, outcome=Outcome.OUT_OF_MEMORY, reason="x")
    base = [failed, *[timed(c, seed=1) for c in cells[1:]]]
    both = judged([failed, *same(cells[1:])], base=base)
    assert (both.exit_code, of(both, cells[0], "outcome")) == (0, Judgement.UNCHANGED_FAIL)
    fixed = judged(same(cells), base=base)
    assert (fixed.exit_code, of(fixed, cells[0], "outcome")) == (0, Judgement.IMPROVEMENT)
    crashed = timed(cells[0], seed=1, outcome=Outcome.WRONG, reason="off by one")
    assert judged([crashed, *same(cells[1:])], base=base).exit_code == 1


def test_what_the_suite_leaves_out_is_not_told(
    judged: Callable[..., Verdict], cells: list[Cell]
) -> None:
    left = timed(cells[0], seed=1, outcome=Outcome.SKIPPED, reason="too long")
    both = judged([left, *same(cells[1:])], base=[left, *[timed(c, seed=1) for c in cells[1:]]])
    assert (both.exit_code, [f for f in both.findings if f.cell == cells[0].id]) == (0, [])
    gone = judged([left, *same(cells[1:])])
    assert (gone.exit_code, of(gone, cells[0], "outcome")) == (4, Judgement.REMOVED)


def test_eight_mebibytes_more_are_a_regression_and_what_an_allocator_rounds_is_not(
    judged: Callable[..., Verdict], cells: list[Cell]
) -> None:
    more = judged([timed(cells[0], seed=2, peak=72 << 20), *same(cells[1:])])
    assert (more.exit_code, of(more, cells[0], "peak_allocated")) == (1, Judgement.REGRESSION)
    rounded = judged([timed(cells[0], seed=2, peak=(64 << 20) + 4096), *same(cells[1:])])
    assert rounded.exit_code == 0


def test_one_parameter_more_is_a_regression(
    judged: Callable[..., Verdict], cells: list[Cell]
) -> None:
    found = judged([timed(cells[0], seed=2, facts={"parameters": 1001}), *same(cells[1:])])
    assert (found.exit_code, of(found, cells[0], "parameters")) == (1, Judgement.REGRESSION)


def test_too_few_launches_cannot_be_told(judged: Callable[..., Verdict], cells: list[Cell]) -> None:
    base = [timed(c, seed=1, launches=3) for c in cells]
    found = judged(same(cells, launches=3), base=base)
    assert (found.verdict, found.exit_code) == ("inconclusive", 3)
    assert "3 launches" in found.sentence


def test_few_inconclusive_cells_are_told_and_do_not_fail(
    judged: Callable[..., Verdict], cells: list[Cell]
) -> None:
    base = [timed(cells[0], seed=1, launches=3), *[timed(c, seed=1) for c in cells[1:]]]
    found = judged(same(cells), base=base)
    assert found.exit_code == 0
    assert "1 cell could not be judged" in found.sentence


OTHER = ({}, {"cpu": "Another CPU"})


def test_times_of_another_machine_are_not_compared_and_the_rest_is(
    judged: Callable[..., Verdict], cells: list[Cell]
) -> None:
    found = judged(same(cells, ratio=9), fields=OTHER, terms={"mode": Mode.STORED})
    assert (found.verdict, found.exit_code) == ("not-comparable", 4)
    assert "cpu" in found.sentence
    assert of(found, cells[0], "latency") is Judgement.NOT_COMPARED
    assert of(found, cells[0], "peak_allocated") is Judgement.PASS
    larger = judged(same(cells, peak=1 << 30), fields=OTHER, terms={"mode": Mode.STORED})
    assert larger.exit_code == 1


def test_what_depends_on_torch_is_not_compared_across_its_releases(
    judged: Callable[..., Verdict], cells: list[Cell]
) -> None:
    other = ({"torch": "2.13.0+cpu"}, {"torch": "2.12.1"})
    found = judged(same(cells, peak=1 << 30), fields=other, terms={"mode": Mode.STORED})
    assert of(found, cells[0], "peak_allocated") is Judgement.NOT_COMPARED
    assert of(found, cells[0], "parameters") is Judgement.PASS
    build = ({"torch": "2.13.0+cpu"}, {"torch": "2.13.0+cu130"})
    assert judged(same(cells, peak=1 << 30), fields=build).exit_code == 1


def test_forced_times_are_compared_and_the_verdict_says_so(
    judged: Callable[..., Verdict], cells: list[Cell]
) -> None:
    found = judged(same(cells), fields=OTHER, terms={"forced": True})
    assert found.exit_code == 0
    assert any("forced" in caveat for caveat in found.caveats)


STORED = {"mode": Mode.STORED}


def test_against_a_stored_base_a_whole_suite_that_moved_is_the_machine(
    judged: Callable[..., Verdict], cells: list[Cell]
) -> None:
    found = judged(same(cells, ratio=1.5), terms=STORED)
    assert found.exit_code == 3
    assert {f.kind for f in found.findings if f.metric == "latency"} == {"environment-drift"}
    assert judged(same(cells, ratio=1.5)).exit_code == 1  # in a duet it is the code


def test_against_a_stored_base_a_contended_run_proves_nothing(
    judged: Callable[..., Verdict], cells: list[Cell]
) -> None:
    found = judged(same(cells, wall=2.0), terms=STORED)
    assert (found.exit_code, found.contended) == (3, (0.0, 1.0))
    duet = judged(same(cells, wall=2.0))
    assert duet.exit_code == 0
    assert any("others had the processor" in caveat for caveat in duet.caveats)


def test_an_old_base_proves_nothing(judged: Callable[..., Verdict], cells: list[Cell]) -> None:
    def aged(day: str) -> int:
        run = judged(same(cells), terms=STORED)
        header = replace(run.case.base.header, created_at=f"{day}T00:00:00+00:00")
        case = replace(run.case, base=replace(run.case.base, header=header))
        return gate.judge(case).exit_code

    assert (aged("2026-11-20"), aged("2026-09-20")) == (0, 3)


def test_where_identical_code_differs_slower_cells_do_not_stand(
    judged: Callable[..., Verdict], cells: list[Cell]
) -> None:
    slow = [*same(cells[:-1]), timed(cells[-1], seed=2, ratio=1.2)]
    found = judged(slow, restless="the base against itself differs by +9 %")
    assert of(found, cells[-1], "latency") is Judgement.INCONCLUSIVE


def test_a_waiver_covers_until_its_day_and_up_to_its_ratio(
    judged: Callable[..., Verdict], cells: list[Cell]
) -> None:
    slow = [*same(cells[:-1]), timed(cells[-1], seed=2, ratio=1.2)]

    def with_waiver(**changes: Any) -> Verdict:
        fields = {"cell": "c9*", "metric": "latency", "reason": "safer", "expires": TODAY}
        return judged(slow, waivers=(Waiver(**fields | changes),))

    assert with_waiver().exit_code == 0
    assert "safer" in str([f.waiver for f in with_waiver().findings if f.waiver])
    late = with_waiver(expires=date(2026, 11, 25))
    assert (late.exit_code, "expired" in late.caveats[-1]) == (1, True)
    assert with_waiver(ratio=1.1).exit_code == 1
    assert "covers nothing" in with_waiver(cell="c0*", expires=date(2027, 1, 1)).caveats[-1]


def test_suspects_are_the_slow_and_the_unproven_and_pads_are_quiet(
    judged: Callable[..., Verdict], cells: list[Cell]
) -> None:
    slow = [*same(cells[:-1]), timed(cells[-1], seed=2, ratio=1.2)]
    case = judged(slow).case
    again, pads = gate.suspects(gate.hear(case.base, case.candidate, case.terms), case.terms.rule)
    assert again == [cells[-1].id]
    assert len(pads) == case.terms.rule.effect_cells - 1
    assert not set(again) & set(pads)


def test_scores_need_seeds_and_a_drop_is_found_over_them(
    judged: Callable[..., Verdict], make_cell: Callable[..., Cell]
) -> None:
    def scored(score: float, seeds: int) -> list[Result]:
        return [
            Result(
                cell=make_cell("c0", seed=seed),
                outcome=Outcome.OK,
                environment="e",
                measurements=(
                    Measurement(
                        metric="quality",
                        unit="1",
                        better="higher",
                        samples=(score + 0.003 * (seed % 3 - 1),),
                        method="accuracy",
                    ),
                ),
            )
            for seed in range(seeds)
        ]

    def verdict(score: float, seeds: int = 5) -> Verdict:
        cells = scored(0, seeds)
        ids = frozenset(r.cell.id for r in cells)
        return judged(scored(score, seeds), base=scored(0.9, seeds), terms={"declared": (ids, ids)})

    assert (verdict(0.9).exit_code, verdict(0.85).exit_code, verdict(0.88, 2).exit_code) == (
        0,
        1,
        3,
    )


def test_the_same_inputs_give_the_same_verdict(
    judged: Callable[..., Verdict], cells: list[Cell]
) -> None:
    assert judged(same(cells)).findings == judged(same(cells)).findings
