"""Laws of comparing two runs."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.compare import compare_results, compare_runs
from harness.judging.change import Ratio, Verdict, change, judge, relate
from harness.judging.conditions import forbids
from harness.schema import Measurement, Outcome, Protocol, Unit
from harness.stats import Interval

STEADY = tuple(range(1_000_000, 1_000_010))


def slower(factor: float) -> tuple[int, ...]:
    return tuple(round(sample * factor) for sample in STEADY)


def verdicts(comparison) -> dict[str, Verdict]:
    return {change.metric: change.verdict for cell in comparison.cells for change in cell.changes}


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.0, "unchanged"), (1.02, "unchanged"), (1.3, "regressed"), (0.7, "improved")],
)
def test_verdict_follows_the_ratio_of_medians(
    make_cell, make_result, make_run, factor: float, verdict: str
) -> None:
    base = make_run([make_result(make_cell(), STEADY)])
    found = compare_runs(base, make_run([make_result(make_cell(), slower(factor))]))
    (cell,) = found.cells
    (latency,) = [change for change in cell.changes if change.metric == "latency"]
    assert cell.verdict == latency.verdict == verdict
    assert latency.ratio is not None
    assert latency.ratio.value == pytest.approx(factor, rel=1e-5)
    lo, hi = latency.ratio.interval or (0, 0)
    assert lo <= factor * (1 + 1e-5)
    assert hi >= factor * (1 - 1e-5)
    assert found.counts == {verdict: 1}
    assert found.comparable
    assert found.mean_ratio("latency") == pytest.approx(factor, rel=1e-5)


intervals = st.tuples(st.floats(0.1, 10), st.floats(1, 5)).map(lambda t: (t[0], t[0] * t[1]))


@given(intervals, st.floats(0, 0.5), st.sampled_from(["lower", "higher"]))
def test_verdict_follows_the_whole_interval_and_turns_with_the_direction(
    ends, band, better
) -> None:
    ratio = Ratio(base=1, candidate=1, value=1, interval=Interval(*ends))
    verdict, _ = judge(ratio, better, band)
    low, high = 1 / (1 + band), 1 + band
    if low <= ends[0] and ends[1] <= high:
        assert verdict == "unchanged"
    elif ends[1] < low or ends[0] > high:
        assert verdict == ("improved" if (ends[1] < low) == (better == "lower") else "regressed")
    else:
        assert verdict == "inconclusive"


def test_a_band_of_the_base_suite_beats_that_of_the_candidate_and_the_default(
    make_cell, make_result, make_run
) -> None:
    def run(band: float | None, factor: float):
        gate = {} if band is None else {"latency": {"regress_over": band}}
        return make_run([make_result(make_cell(), slower(factor))], gate=gate)

    assert verdicts(compare_runs(run(None, 1), run(None, 1.1)))["latency"] == "regressed"
    assert verdicts(compare_runs(run(None, 1), run(0.2, 1.1)))["latency"] == "unchanged"
    assert verdicts(compare_runs(run(0.01, 1), run(0.2, 1.1)))["latency"] == "regressed"


def test_times_of_few_samples_prove_nothing_but_single_counts_do(
    make_cell, make_result, make_run
) -> None:
    base = make_run([make_result(make_cell(), STEADY[:3], peak_memory=2**20)])
    other = make_run([make_result(make_cell(), slower(2)[:3], peak_memory=2**21)])
    found = compare_runs(base, other)
    assert verdicts(found) == {
        "latency": "inconclusive",
        "peak_memory": "regressed",
        "parameters": "unchanged",
    }
    assert found.cells[0].verdict == "regressed"
    assert found.cells[0].reason == "peak_memory"


def test_times_of_other_machines_are_incomparable_while_counts_stay(
    make_cell, make_result, make_run
) -> None:
    flops = Measurement(metric="flops_executed", unit="flop", better="lower", samples=(100,))
    kept = replace(make_result(make_cell(), STEADY, peak_memory=2**20))
    kept = replace(kept, measurements=(*kept.measurements, flops))
    found = compare_runs(make_run([kept]), make_run([kept], fields={"cpu": "Other CPU"}))
    assert verdicts(found) == {
        "latency": "incomparable",
        "peak_memory": "incomparable",  # resident memory: pages and libraries of the machine
        "flops_executed": "unchanged",
        "parameters": "unchanged",
    }
    assert not found.comparable
    (difference,) = found.differences
    assert (difference.key, difference.base, difference.candidate, difference.forbids) == (
        "cpu",
        "Example CPU 9000",
        "Other CPU",
        "times",
    )
    assert found.cells[0].reason == "latency: other cpu"
    assert found.mean_ratio("latency") is None


def test_bytes_of_the_allocator_are_comparable_across_machines() -> None:
    peak = Measurement(
        metric="peak_memory",
        unit="byte",
        better="lower",
        samples=(2**20,),
        method="allocator's peak minus allocated before the step",
    )
    assert change(peak, peak, differing=("torch",)).verdict == "unchanged"
    assert change(peak, peak, differing=("data_digest",)).verdict == "incomparable"


def test_other_input_makes_everything_incomparable(make_cell, make_result, make_run) -> None:
    base = make_run([make_result(make_cell(), STEADY, peak_memory=1)])
    other = make_run(
        [make_result(make_cell(), STEADY, peak_memory=1)], fields={"data_digest": "other"}
    )
    assert set(verdicts(compare_runs(base, other)).values()) == {"incomparable"}


def test_what_forbids_stands_before_what_explains(make_cell, make_result, make_run) -> None:
    base = make_run([make_result(make_cell(), STEADY)])
    changed = {"info_commit": "fff", "torch": "2.11.0", "data_digest": "x", "new_key": 1}
    other = make_run(
        [make_result(make_cell(), STEADY)], fields=changed, protocol=Protocol(min_samples=20)
    )
    found = [(d.key, d.forbids) for d in compare_runs(base, other).differences]
    assert found == [
        ("data_digest", "everything"),
        ("new_key", "times"),
        ("torch", "times"),
        ("info_commit", "nothing"),
        ("protocol.min_samples", "nothing"),
    ]
    new = next(d for d in compare_runs(base, other).differences if d.key == "new_key")
    assert new.base == "not recorded"


def test_a_condition_nobody_thought_of_forbids() -> None:
    assert forbids("turbo_mode") == "times"
    assert forbids("info_kernel") == "nothing"


def test_another_instrument_is_incomparable_and_another_loop_count_is_not() -> None:
    def timed(method: str) -> Measurement:
        return Measurement(
            metric="latency", unit="ns", better="lower", samples=STEADY, method=method
        )

    cpu = timed("process CPU time, 1 thread, mean of 2 steps a sample")
    assert (
        change(cpu, timed("process CPU time, 1 thread, one step a sample")).verdict == "unchanged"
    )
    wall = change(cpu, timed("wall time, 1 thread, one step a sample"))
    assert wall.verdict == "incomparable"
    assert wall.reason == "measured as process CPU time [ns] and as wall time [ns]"


def test_a_cell_or_metric_on_one_side_only_is_missing(make_cell, make_result, make_run) -> None:
    one, two, three = (make_cell(seq_len=n) for n in (512, 1024, 2048))
    base = make_run([make_result(one, STEADY), make_result(two, STEADY, peak_memory=1)])
    other = make_run([make_result(two, STEADY), make_result(three, STEADY)])
    found = compare_runs(base, other)
    assert [(c.cell.seq_len, c.verdict) for c in found.cells] == [
        (512, "missing"),
        (1024, "missing"),
        (2048, "missing"),
    ]
    assert found.cells[0].reason == "the candidate has no result of this cell"
    assert found.cells[1].reason == "peak_memory: the candidate did not measure it"
    assert found.cells[2].reason == "the base has no result of this cell"
    assert not found.comparable


def test_cells_that_were_planned_and_run_by_neither_are_left_out(
    make_cell, make_result, make_run
) -> None:
    cells = [make_cell(seq_len=n) for n in (512, 1024)]
    run = make_run([make_result(cells[0], STEADY)], cells=cells)
    assert [each.cell.seq_len for each in compare_runs(run, run).cells] == [512]


@pytest.mark.parametrize(
    ("base", "candidate", "verdict", "reason"),
    [
        ("ok", "out_of_memory", "regressed", "ok -> out of memory"),
        ("timeout", "ok", "improved", "timeout -> ok"),
        ("wrong", "wrong", "unchanged", "wrong in both"),
        ("timeout", "out_of_memory", "inconclusive", "timeout -> out of memory"),
        ("ok", "skipped", "missing", "ok -> skipped"),
        ("skipped", "ok", "missing", "skipped -> ok"),
    ],
)
def test_outcomes_that_differ_are_named(
    make_cell, make_result, base: str, candidate: str, verdict: str, reason: str
) -> None:
    sides = [
        make_result(make_cell(), STEADY, outcome=Outcome(name), reason="why")
        for name in (base, candidate)
    ]
    found = compare_results(*sides, bands={})
    assert (found.verdict, found.reason) == (verdict, reason)
    assert found.changes == ()


def test_what_only_explains_does_not_count_for_the_verdict(
    make_cell, make_result, make_run
) -> None:
    def run(factor: float):
        result = make_result(make_cell(), STEADY)
        wall = replace(result.measurements[0], metric="latency_wall", samples=slower(factor))
        return make_run([replace(result, measurements=(*result.measurements, wall))])

    (cell,) = compare_runs(run(1), run(3)).cells
    assert verdicts(compare_runs(run(1), run(3)))["latency_wall"] == "regressed"
    assert cell.verdict == "unchanged"


def test_other_numbers_of_parameters_are_told(make_cell, make_result, make_run) -> None:
    base = make_run([make_result(make_cell(), STEADY)])
    other = make_run([make_result(make_cell(), STEADY, facts={"parameters": 2_000_000})])
    assert verdicts(compare_runs(base, other))["parameters"] == "regressed"


def test_a_result_of_an_unknown_environment_is_incomparable(
    make_cell, make_result, make_run
) -> None:
    run = make_run([make_result(make_cell(), STEADY, environment=None)])
    (cell,) = compare_runs(run, run).cells
    assert cell.verdict == "incomparable"
    assert cell.reason == "latency: other an unknown environment"


def values(*samples: float, unit: Unit = "byte", **changes) -> Measurement:
    return Measurement(metric="any", unit=unit, better="lower", samples=samples, **changes)


def test_zero_is_compared_without_a_ratio() -> None:
    assert relate(values(0), values(0)) == Ratio(
        base=0, candidate=0, value=1.0, interval=Interval(1, 1)
    )
    grown = relate(values(0), values(5))
    assert grown.value is None
    assert grown.shown
    assert judge(grown, "lower", 0.01) == (Verdict.REGRESSED, "the base is zero")


def test_counts_of_a_few_samples_have_the_range_of_ratios_as_interval() -> None:
    assert relate(values(10, 20), values(20, 40)).interval == (1.0, 4.0)
    assert relate(values(10, unit="flop"), values(20, unit="flop")).interval == (2.0, 2.0)
    assert relate(values(10, unit="ns"), values(20, unit="ns")).interval is None
    few = relate(values(*[10] * 3, unit="ns"), values(*[20] * 3, unit="ns"))
    assert few.interval is None


def test_pairs_of_one_sitting_are_related_to_each_other() -> None:
    """The machine is twice and four times as slow in later launches; the ratio is 1.1 in each."""
    paired = {"unit": "ns", "launches": (3, 3, 3), "sittings": ("x", "y", "z")}
    base = [10.0, 10.0, 11.0, 20.0, 20.0, 22.0, 40.0, 40.0, 44.0]
    found = relate(values(*base, **paired), values(*(1.1 * x for x in base), **paired))
    assert found.value == pytest.approx(1.1)
    assert found.interval == pytest.approx((1.1, 1.1))
    assert found.base == 20.0
    others = {**paired, "sittings": ("u", "v", "w")}
    apart = relate(values(*base, **paired), values(*(1.1 * x for x in base), **others)).interval
    assert apart is not None
    assert apart.lo < 0.5
    assert apart.hi > 2


def test_one_launch_against_several_has_a_ratio_and_no_interval() -> None:
    several = values(*[10.0] * 20, unit="ns", launches=(10, 10))
    found = relate(values(*[20.0] * 20, unit="ns"), several)
    assert (found.value, found.interval) == (0.5, None)


def test_cells_without_a_judged_metric_are_missing(make_cell, make_result) -> None:
    bare = replace(make_result(make_cell()), facts={})
    found = compare_results(bare, bare, bands={})
    assert (found.verdict, found.reason) == (
        Verdict.MISSING,
        "neither run measured what is judged",
    )


def test_nothing_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="a result on one side"):
        compare_results(None, None, bands={})
    with pytest.raises(ValueError, match="a measurement on one side"):
        change(None, None)


def test_a_run_compared_with_itself_is_unchanged_everywhere(long_seq) -> None:
    found = compare_runs(long_seq, long_seq)
    assert set(found.counts) == {"unchanged"}
    assert found.differences == ()
    assert found.mean_ratio("peak_memory") == 1
