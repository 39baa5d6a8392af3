"""Laws of a duet: both sides meet the same, chance decides who begins, one stumble is no fall."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from harness import duet, gate, revisions, store
from harness.cases import Asked
from harness.planning import Plan, Request
from harness.revisions import Duet
from harness.schema import Cell, Environment, Job, Outcome, Protocol, Result, Run
from tests.harness.launched import timed

PROTOCOL = Protocol(launches=5, min_samples=50, pairing="chunked")
WHERE = Environment(fields={"cpu": "Example CPU 9000", "device": "cpu"})


class Fakes:
    """Two sides that are equally fast unless a cell of the candidate is named."""

    def __init__(self, slower: dict[str, float] | None = None) -> None:
        self.slower = slower or {}
        self.calls: list[tuple[str, ...]] = []
        self.failing: dict[str, int] = {}  # contender: how many more sittings fail
        self._seed = 0

    def alone(self, side: int, job: Job) -> duet.Answer:
        self.calls.append(("alone", str(side), job.cell.contender))
        result = timed(job.cell, seed=0, environment=WHERE.id)
        kept = tuple(m for m in result.measurements if m.unit != "ns")
        return replace(result, measurements=kept, facts={"launches": 0}), WHERE

    def together(self, sides: Sequence[int], job: Job, name: str) -> list[duet.Answer]:
        self.calls.append(("together", *map(str, sides), name))
        left = self.failing.get(job.cell.contender, 0)
        if left:
            self.failing[job.cell.contender] = left - 1
        return [(self._timed(side, job, name, failed=left > 0), WHERE) for side in sides]

    def renew(self) -> None:
        self.calls.append(("renew",))

    def _timed(self, side: int, job: Job, name: str, *, failed: bool) -> Result:
        self._seed += 1
        if failed and side == 1:
            return Result(cell=job.cell, outcome=Outcome.CRASHED, reason="fell")
        ratio = 1 + self.slower.get(job.cell.contender, 0) * side
        result = timed(job.cell, seed=self._seed, launches=1, ratio=ratio, environment=WHERE.id)
        told = tuple(replace(m, sittings=(name,)) for m in result.measurements if m.unit == "ns")
        return replace(result, measurements=told, facts={"launches": 1})


class Shelf:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.results: list[Result] = []

    def environment(self, environment: Environment) -> None:
        pass

    def end(self, result: Result) -> None:
        self.results.append(result)


@pytest.fixture
def jobs(make_cell: Callable[..., Cell]) -> list[Job]:
    """Ten cells to time five times."""
    cells = [make_cell(f"c{i}", 256) for i in range(10)]
    return [Job(cell=c, metrics=("latency", "peak_memory"), protocol=PROTOCOL) for c in cells]


def test_every_launch_is_a_sitting_of_both_sides_in_random_order(jobs: list[Job]) -> None:
    sides, sinks = Fakes(), (Shelf(), Shelf())
    found = duet.measure(jobs, sides, sinks, controls=0)
    sittings = [call for call in sides.calls if call[0] == "together"]
    assert len(sittings) == 5 * len(jobs)
    assert {call[1:3] for call in sittings} == {("0", "1"), ("1", "0")}
    assert [r.cell for r in found.base] == [r.cell for r in found.candidate]
    for one, other in zip(found.base, found.candidate, strict=True):
        pair = [next(m for m in r.measurements if m.metric == "latency") for r in (one, other)]
        assert pair[0].sittings == pair[1].sittings
        assert len(set(pair[0].sittings)) == 5
    assert [list(r.results) for r in sinks] == [list(found.base), list(found.candidate)]


def test_servers_are_renewed_before_launches_and_the_base_is_timed_against_itself(
    jobs: list[Job],
) -> None:
    sides = Fakes()
    found = duet.measure(jobs, sides, (Shelf(), Shelf()), controls=3)
    assert sides.calls.count(("renew",)) == 1
    assert sum(call[1:3] == ("0", "0") for call in sides.calls) == 3 * 5
    assert len(found.controls) == 3


def test_what_is_not_timed_is_measured_once(jobs: list[Job]) -> None:
    sides = Fakes()
    exact = [replace(job, metrics=("peak_memory",)) for job in jobs]
    found = duet.measure(exact, sides, (Shelf(), Shelf()))
    assert len(sides.calls) == 2 * len(jobs)
    assert [m.metric for m in found.candidate[0].measurements] == ["peak_allocated"]


def test_a_single_stumble_is_forgiven_and_told_and_a_second_is_the_outcome(
    jobs: list[Job],
) -> None:
    once = Fakes()
    once.failing = {"c0": 1}
    forgiven = duet.measure(jobs, once, (Shelf(), Shelf()), controls=0).candidate[0]
    assert (forgiven.outcome, forgiven.facts[duet.RETRIED]) == (Outcome.OK, [1])
    twice = Fakes()
    twice.failing = {"c0": 2}
    fallen = duet.measure(jobs, twice, (Shelf(), Shelf()), controls=0)
    assert fallen.candidate[0].outcome is Outcome.CRASHED
    assert fallen.base[0].outcome is Outcome.OK


@pytest.fixture
def gated(
    jobs: list[Job], make_run: Callable[..., Run], tmp_path: Path
) -> Callable[..., gate.Verdict]:
    """`gated(sides)` carries out a plan of the jobs and judges it."""

    def carry_out(sides: Fakes, **changes: Any) -> gate.Verdict:
        header = make_run([], cells=[job.cell for job in jobs], protocol=PROTOCOL).header
        asked = Duet(
            request=Request(suite=Path("s.yaml")),
            base="HEAD~1",
            asked=Asked(today=date(2026, 11, 26)),
            out=tmp_path,
        )
        plan = Plan(header=header, jobs=tuple(jobs))
        return gate.judge(revisions.carry_out(plan, sides, asked, lambda _: None, **changes))

    return carry_out


def test_equal_trees_pass_in_one_stage(gated: Callable[..., gate.Verdict], tmp_path: Path) -> None:
    found = gated(Fakes())
    assert (found.exit_code, found.stage, found.case.terms.mode) == (0, 1, gate.Mode.PAIRED)
    assert found.case.floor is not None
    assert found.case.floor < 0.05
    assert {run.run_id.rpartition("-")[2] for run in store.runs(tmp_path)} == {"base", "candidate"}


def test_a_slower_cell_is_measured_again_and_found(
    gated: Callable[..., gate.Verdict], tmp_path: Path
) -> None:
    sides = Fakes({"c4": 0.15})
    found = gated(sides)
    assert (found.exit_code, found.stage) == (1, 2)
    (red,) = [f for f in found.findings if f.is_red]
    assert (red.cell.startswith("c4-"), red.stage) == (True, 2)
    assert red.ratio == pytest.approx(1.15, rel=0.02)
    assert red.base is not None
    assert red.base.launches == 10
    assert len(store.runs(tmp_path)) == 4


def test_a_cell_that_the_base_had_and_the_suite_has_no_more_is_told(
    gated: Callable[..., gate.Verdict], jobs: list[Job]
) -> None:
    before = frozenset([*(job.cell.id for job in jobs), "gone-forward-1"])
    found = gated(Fakes(), declared=before)
    assert found.exit_code == 4
    assert "gone-forward-1" in found.sentence
