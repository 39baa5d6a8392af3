"""Laws of what samples tell of themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import diagnostics, stats

finite = st.floats(min_value=-1e9, max_value=1e9)
samples = st.lists(finite, min_size=1, max_size=40)
scales = st.floats(min_value=1e-2, max_value=1e2)


def drawn(seed: int, n: int, spread: float = 1.0) -> list[float]:
    return np.random.default_rng(seed).normal(100, spread, n).tolist()


@given(samples)
def test_correlation_lies_between_minus_one_and_one(values: list[float]) -> None:
    r = diagnostics.autocorrelation(values)
    assert r is None or -1 <= r <= 1


@given(samples)
def test_samples_are_worth_at_least_one_and_at_most_their_number(values: list[float]) -> None:
    assert 1 <= diagnostics.effective_size(values) <= len(values)


def test_a_series_that_remembers_half_is_worth_a_third() -> None:
    noise, series = np.random.default_rng(0).normal(size=4000), [0.0]
    for x in noise:
        series.append(0.5 * series[-1] + float(x))
    assert diagnostics.autocorrelation(series) == pytest.approx(0.5, abs=0.05)
    assert diagnostics.effective_size(series) == pytest.approx(4000 / 3, rel=0.1)


def test_independent_samples_are_worth_nearly_their_number() -> None:
    assert abs(diagnostics.autocorrelation(drawn(1, 2000)) or 0) < 0.06
    assert diagnostics.effective_size(drawn(1, 2000)) > 1750


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0], [5.0] * 20])
def test_too_few_or_equal_samples_have_no_correlation(values: list[float]) -> None:
    assert diagnostics.autocorrelation(values) is None
    assert diagnostics.effective_size(values) == len(values)


@given(samples)
def test_no_sample_between_the_quartiles_is_an_outlier(values: list[float]) -> None:
    q1, _, q3 = stats.quartiles(values)
    assert all(not q1 <= values[i] <= q3 for i in diagnostics.outliers(values))


def test_a_wild_sample_is_flagged_by_its_place_and_kept() -> None:
    values = [*drawn(2, 30), 1000.0, *drawn(3, 5)]
    assert 30 in diagnostics.outliers(values)
    assert stats.summarize(values).maximum == 1000.0


@given(samples, scales, finite)
def test_flags_do_not_depend_on_unit_and_origin_of_whole_numbers(values, scale, origin) -> None:
    whole = [float(round(v / 1e4)) for v in values]
    moved = [4 * v + 1024 for v in whole]  # exact in floating point
    assert diagnostics.outliers(moved) == diagnostics.outliers(whole)


def test_two_clusters_are_told_with_their_medians_and_share() -> None:
    found = diagnostics.modes([5.3, 5.2, 5.4] * 8 + [18.6, 18.5] * 4)
    assert found is not None
    assert (found.low, found.high) == (5.3, 18.55)
    assert found.share == pytest.approx(0.25)


@pytest.mark.parametrize("seed", range(5))
def test_one_cluster_is_not_called_two(seed: int) -> None:
    assert diagnostics.modes(drawn(seed, 50)) is None
    assert diagnostics.modes(np.random.default_rng(seed).uniform(1, 2, 100).tolist()) is None


def test_one_wild_sample_is_no_mode_and_few_samples_have_none() -> None:
    assert diagnostics.modes([*drawn(4, 30), 1e6]) is None
    assert diagnostics.modes([1.0, 9.0] * 5) is None
    assert diagnostics.modes([3.0] * 30) is None


def test_launches_differ_by_the_range_of_their_medians() -> None:
    values = [10.0, 10.0, 10.0, 12.0, 12.0]
    assert diagnostics.spread_between(values, (3, 2)) == pytest.approx(2 / 11)
    assert diagnostics.spread_between(values, ()) is None
    assert diagnostics.spread_between(values, (5,)) is None


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_an_interval_of_a_quantile_covers_it_at_least_as_often_as_it_says(p: float) -> None:
    draws = np.random.default_rng(5).exponential(size=(1000, 60))
    truth = -np.log(1 - p)
    covered = 0
    for row in draws:
        interval = stats.quantile_interval(row.tolist(), p)
        assert interval is not None
        covered += interval.lo <= truth <= interval.hi
    assert covered / 1000 >= 0.94


@given(st.lists(finite, min_size=1, max_size=60), st.sampled_from([0.05, 0.25, 0.5, 0.75, 0.9]))
def test_an_interval_of_a_quantile_is_of_samples_and_in_order(values, p: float) -> None:
    interval = stats.quantile_interval(values, p)
    if interval is not None:
        assert min(values) <= interval.lo <= interval.hi <= max(values)
        assert {interval.lo, interval.hi} <= set(values)


def test_an_interval_mirrors_with_the_samples_and_scales_with_them() -> None:
    values = drawn(6, 80)
    lo, hi = stats.quantile_interval(values, 0.2) or (0, 0)
    assert stats.quantile_interval([-v for v in values], 0.8) == (-hi, -lo)
    assert stats.quantile_interval([4 * v for v in values], 0.2) == (4 * lo, 4 * hi)


@pytest.mark.parametrize("p", [0.0, 1.0, -1.0, 2.0])
def test_extremes_have_no_interval(p: float) -> None:
    with pytest.raises(ValueError, match="lies between 0 and 1"):
        stats.quantile_interval([1.0] * 10, p)
