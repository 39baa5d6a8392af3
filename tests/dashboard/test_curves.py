"""From results to curves and sentences: nothing is imputed, nothing is hidden."""

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from dashboard import curves, findings, selecting, tables
from dashboard.curves import Chart
from harness import store


@pytest.fixture(scope="module")
def rows(scenes: dict[str, Path]) -> list[curves.Row]:
    return curves.records(store.frame("full", root=scenes["full"]))


CONTENDERS = ("transformer", "transformer-eager", "reformer", "local", "linear", "broken", "odd")


def chart(rows: list[curves.Row], metric: str = "latency", phase: str = "forward") -> Chart:
    return curves.chart(rows, CONTENDERS, metric, phase)


def test_every_cell_is_a_point_or_a_failure(rows: list[curves.Row]) -> None:
    for curve in chart(rows).curves:
        lengths = [each.length for each in (*curve.points, *curve.failures)]
        assert sorted(lengths) == list(curve.lengths) == [512 * 2**i for i in range(6)]


def test_every_outcome_is_told(rows: list[curves.Row]) -> None:
    told = {failure.outcome for curve in chart(rows).curves for failure in curve.failures}
    assert told == {
        *("wrong", "out_of_memory", "implied", "timeout", "unsupported", "crashed"),
        *("error", "skipped"),
    }


def test_a_cell_that_is_not_ok_has_no_point_whatever_it_measured(rows: list[curves.Row]) -> None:
    changed = [
        row | {"outcome": "wrong", "reason": "differs"} if row["seq_len"] == 4096 else row
        for row in rows
    ]
    for curve in chart(changed).curves:
        assert 4096 not in curve.at
        assert 4096 in {failure.length for failure in curve.failures}


def test_places_are_those_of_the_suite(rows: list[curves.Row]) -> None:
    without = [row for row in rows if row["contender"] != "transformer-eager"]
    assert [c.contender for c in chart(without).curves if c.is_baseline] == ["transformer"]
    assert [c.contender for c in chart(without).curves] == [
        name for name in CONTENDERS if name != "transformer-eager"
    ]


def test_metrics_begin_with_time_memory_and_tokens_per_second(rows: list[curves.Row]) -> None:
    assert curves.metrics(rows) == ["latency", "peak_memory", "throughput"]
    more = [*rows, rows[0] | {"metric": "energy"}]
    assert curves.metrics(more) == ["latency", "peak_memory", "throughput", "energy"]


def test_settings_are_those_in_which_cells_differ(rows: list[curves.Row]) -> None:
    assert selecting.settings(pd.DataFrame(rows)) == {}
    more = pd.DataFrame([*rows, rows[0] | {"batch": 2}])
    assert selecting.settings(more) == {"batch": [1, 2]}
    budgets = pd.DataFrame([*rows, rows[0] | {"memory_bytes": 2**20}])
    assert selecting.settings(budgets) == {"memory_bytes": [2**20, None]}


def test_a_setting_that_is_new_can_be_chosen_too(rows: list[curves.Row]) -> None:
    told = [row | {"flavour": flavour} for flavour in ("plain", "sour") for row in rows]
    names = list(told[0])
    names.insert(names.index("outcome"), names.pop(names.index("flavour")))
    assert selecting.settings(pd.DataFrame(told)[names]) == {"flavour": ["plain", "sour"]}


def test_joules_per_token_are_energy_over_tokens(rows: list[curves.Row]) -> None:
    energy = rows[0] | {"metric": "energy", "unit": "J", "value": 6.0, "samples": (4.0, 6.0, 8.0)}
    found = curves.with_derived([energy | {"tokens": 2, "n": 3, "lo": 4.0, "hi": 8.0}])[1]
    assert (found["metric"], found["unit"], found["value"]) == ("joules_per_token", "J/token", 3.0)
    assert (found["samples"], found["lo"], found["hi"]) == ([2.0, 3.0, 4.0], 2.0, 4.0)


def test_residuals_are_around_one_where_the_law_holds(rows: list[curves.Row]) -> None:
    (found,) = (r for r in curves.residuals(chart(rows)) if r["contender"] == "reformer")
    assert all(value == pytest.approx(1, rel=0.03) for k, value in found.items() if "tokens" in k)


def test_the_crossover_of_time_is_that_of_tokens_per_second(rows: list[curves.Row]) -> None:
    time, speed = chart(rows), chart(rows, "throughput")
    for slow, fast in zip(time.curves, speed.curves, strict=True):
        assert (slow.crossover is None) == (fast.crossover is None)
        if slow.crossover and fast.crossover:
            assert fast.crossover.length == pytest.approx(slow.crossover.length)


def test_a_value_of_zero_is_counted_not_drawn(rows: list[curves.Row]) -> None:
    zero = [row | {"samples": (0.0,)} if row["seq_len"] == 512 else row for row in rows]
    flat = chart(zero, "peak_memory")
    assert flat.zeros == 4
    assert all(512 not in curve.at for curve in flat.curves)
    assert "4 cells measured as 0 are not drawn" in findings.caption(flat, {}, 1)


def test_the_headline_names_the_best_at_the_longest_length(rows: list[curves.Row]) -> None:
    headline = findings.headline(chart(rows))
    assert headline.startswith(
        "At 16k tokens, local is fastest (143 ms), 1.22\N{MULTIPLICATION SIGN} faster than linear "
        "(95 % interval 1."
    )
    assert headline.endswith(
        "Without a number: 18 cells (2 crashed, 1 error, 1 implied, 1 out of memory, 2 skipped, "
        "1 timeout, 6 unsupported, 4 wrong)."
    )
    assert "local is smallest (134 MiB)" in findings.headline(chart(rows, "peak_memory"))
    assert "local is fastest (114 k tokens/s)" in findings.headline(chart(rows, "throughput"))


@pytest.mark.parametrize("metric", ["latency", "throughput"])
def test_the_interval_of_a_factor_holds_it(rows: list[curves.Row], metric: str) -> None:
    said = re.search(
        r"([\d.]+)\W faster than linear \(95 % interval ([\d.]+) to ([\d.]+)\)",
        findings.headline(chart(rows, metric)),
    )
    assert said is not None
    factor, lo, hi = map(float, said.groups())
    assert 1 < lo <= factor <= hi


def test_a_factor_from_few_samples_says_so(rows: list[curves.Row]) -> None:
    few = [row | {"samples": row["samples"][:3]} for row in rows]
    assert "(3 samples are too few for an interval)" in findings.headline(chart(few))
    assert "interval" not in findings.headline(chart(few, "peak_memory"))


def test_noise_is_not_called_a_difference(rows: list[curves.Row]) -> None:
    local = [row for row in rows if row["contender"] == "local"]
    twin = [row | {"contender": "odd"} for row in local]
    assert "no difference can be shown between local (143 ms) and odd (143 ms)" in (
        findings.headline(chart([*local, *twin]))
    )


def test_sentences_without_numbers_say_why(scenes: dict[str, Path]) -> None:
    rows = curves.records(store.frame("failures", root=scenes["all out of memory"]))
    flat = chart(rows)
    assert findings.headline(flat) == "No cell of this selection has a number: 9 out of memory."
    assert findings.crossovers(flat) == findings.exponents(flat) == []
    assert findings.headline(chart(rows, phase="decode")) == (
        "No cell of this selection has a number."
    )


def test_crossovers_are_told_with_their_interval(rows: list[curves.Row]) -> None:
    eager, reformer, local, linear = findings.crossovers(chart(rows))
    assert eager == "transformer-eager is not faster than transformer at 4k tokens."
    assert reformer.startswith("reformer is faster than transformer from 4.99k tokens (95 % inter")
    assert local == "local is faster than transformer from 512 to 8k tokens."
    assert linear == "linear is faster than transformer from 2k to 8k tokens."


def test_contenders_that_share_no_length_are_not_compared(rows: list[curves.Row]) -> None:
    apart = [row for row in rows if (row["contender"] == "transformer") == (row["seq_len"] < 4096)]
    told = findings.crossovers(chart(apart))
    assert "reformer and transformer share no measured length." in told


def test_the_caption_tells_samples_conditions_and_mixtures(rows: list[curves.Row]) -> None:
    told = findings.caption(chart(rows), {"device": "cpu"}, 2)
    assert told.startswith("n = 11 a point · forward · device cpu · bands: 95 % interval")
    assert "process CPU time, 2 threads" in told
    assert told.endswith("measured in 2 environments, so points may not be comparable")
    few = [row | {"samples": row["samples"][:3]} for row in rows]
    assert "too few samples for an interval (under 6)" in findings.caption(chart(few), {}, 1)


def test_the_table_holds_every_cell_in_one_unit_a_column(rows: list[curves.Row]) -> None:
    table = tables.numbers(chart(rows))
    assert len(table) == 42
    first = next(row for row in table if row["contender"] == "local")
    assert first["median (ms)"] == pytest.approx(4.5, rel=0.05)
    assert first["low (ms)"] <= first["median (ms)"] <= first["high (ms)"]
    error = next(row for row in table if row["outcome"] == "error")
    assert (error["median (ms)"], error["reason"]) == (None, "RuntimeError: <b>bold</b> & $x^2$")


def test_records_hold_none_for_what_is_missing(rows: list[curves.Row]) -> None:
    assert {type(row["reason"]) for row in rows} == {str, type(None)}
    assert replace(chart(rows)).measured
