"""Laws of the statistics of samples."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import stats

finite = st.floats(min_value=-1e12, max_value=1e12)
positive = st.floats(min_value=1e-6, max_value=1e12)
samples = st.lists(finite, min_size=1, max_size=30)
positives = st.lists(positive, min_size=6, max_size=30)
scales = st.floats(min_value=1e-3, max_value=1e3)


def ratio(base, candidate) -> stats.Interval:
    interval = stats.ratio_interval(base, candidate)
    assert interval is not None
    return interval


def middle_of(values) -> stats.Interval:
    interval = stats.median_interval(values)
    assert interval is not None
    return interval


@given(samples)
def test_minimum_quartiles_and_maximum_are_in_order(values: list[float]) -> None:
    q1, middle, q3 = stats.quartiles(values)
    assert min(values) <= q1 <= middle <= q3 <= max(values)
    assert stats.iqr(values) >= 0


@given(samples)
def test_median_is_that_of_the_standard_library(values: list[float]) -> None:
    assert stats.median(values) == pytest.approx(statistics.median(values), rel=1e-12, abs=1e-3)


@given(samples, scales)
def test_location_and_spread_scale_with_the_samples(values: list[float], scale: float) -> None:
    scaled = [scale * value for value in values]
    for statistic in (stats.median, stats.mad, stats.iqr):
        assert statistic(scaled) == pytest.approx(scale * statistic(values), rel=1e-9, abs=1e-2)


@given(samples, st.randoms(use_true_random=False))
def test_order_of_samples_does_not_matter(values: list[float], random) -> None:
    shuffled = random.sample(values, len(values))
    assert stats.summarize(shuffled) == stats.summarize(values)


@given(st.lists(finite, min_size=6, max_size=60))
def test_median_lies_in_its_interval_and_both_ends_are_samples(values: list[float]) -> None:
    lo, hi = middle_of(values)
    assert lo <= stats.median(values) <= hi
    assert {lo, hi} <= set(values)


@given(st.lists(finite, min_size=1, max_size=5))
def test_fewer_than_six_samples_have_no_interval_of_the_median(values: list[float]) -> None:
    assert stats.median_interval(values) is None


@pytest.mark.parametrize(
    ("n", "m", "enough"),
    [(4, 4, True), (3, 5, True), (5, 3, True), (3, 4, False), (3, 3, False), (1, 50, False)],
)
def test_a_ratio_of_few_samples_is_bounded_by_all_ratios_where_chance_is_small(
    n: int, m: int, enough: bool
) -> None:
    base, candidate = [1.0 + i / 10 for i in range(n)], [2.0 + i / 10 for i in range(m)]
    interval = stats.ratio_interval(base, candidate)
    assert (interval is not None) == enough
    if interval is not None:
        assert interval == (candidate[0] / base[-1], candidate[-1] / base[0])


def test_the_range_of_ratios_covers_a_factor_at_least_as_often_as_it_says() -> None:
    draws = np.random.default_rng(4).lognormal(sigma=0.5, size=(2000, 8))
    intervals = [ratio(row[:4].tolist(), (1.3 * row[4:]).tolist()) for row in draws]
    assert sum(lo <= 1.3 <= hi for lo, hi in intervals) / 2000 >= 0.95


@pytest.mark.parametrize(
    ("n", "k"), [(6, 1), (8, 1), (9, 2), (10, 2), (12, 3), (20, 6), (25, 8), (50, 18), (100, 40)]
)
def test_interval_uses_the_ranks_of_the_published_table(n: int, k: int) -> None:
    # Table of sign-test ranks at two-sided 5 %, e.g. Conover, Practical Nonparametric Statistics.
    assert stats.median_interval(range(1, n + 1)) == (k, n + 1 - k)


@pytest.mark.parametrize("n", [6, 10, 31])
def test_median_interval_covers_the_median_at_least_as_often_as_it_says(n: int) -> None:
    draws = np.random.default_rng(1).lognormal(sigma=1.0, size=(2000, n))
    intervals = [middle_of(row.tolist()) for row in draws]
    covered = sum(lo <= 1.0 <= hi for lo, hi in intervals)
    assert covered / 2000 >= 0.94


@pytest.mark.parametrize("n", [6, 10, 31])
def test_ratio_interval_covers_the_ratio_of_medians(n: int) -> None:
    generator = np.random.default_rng(2)
    base = generator.lognormal(sigma=0.3, size=(1000, n))
    candidate = 1.2 * generator.lognormal(sigma=0.6, size=(1000, n))
    pairs = zip(base.tolist(), candidate.tolist(), strict=True)
    covered = sum(lo <= 1.2 <= hi for lo, hi in (ratio(*pair) for pair in pairs))
    assert 0.93 <= covered / 1000 <= 0.995


@given(positives, positives, scales, scales)
def test_ratio_interval_scales_with_either_side(a, b, first: float, second: float) -> None:
    lo, hi = ratio(a, b)
    scaled = ratio([first * x for x in a], [second * x for x in b])
    assert scaled == pytest.approx((lo * second / first, hi * second / first), rel=1e-6)


@given(positives, positives)
def test_ratio_interval_of_swapped_sides_is_the_reciprocal(a, b) -> None:
    lo, hi = ratio(a, b)
    assert lo <= stats.median(b) / stats.median(a) * (1 + 1e-12)
    assert ratio(b, a) == pytest.approx((1 / hi, 1 / lo), rel=1e-9)


def test_ratio_of_a_side_to_itself_covers_one() -> None:
    values = [10.0, 11.0, 9.5, 10.2, 10.1, 9.9]
    lo, hi = ratio(values, values)
    assert lo < 1 < hi


def medians(draws: np.ndarray) -> np.ndarray:
    return np.median(draws, axis=1)


@settings(max_examples=20)
@given(st.lists(finite, min_size=2, max_size=20), st.integers(0, 2**32))
def test_bootstrap_is_a_pure_function_that_stays_within_the_samples(values, seed: int) -> None:
    interval = stats.bootstrap_interval(medians, values, seed=seed)
    assert interval == stats.bootstrap_interval(medians, values, seed=seed)
    assert min(values) <= interval.lo <= interval.hi <= max(values)


def test_bootstrap_resamples_each_group_on_its_own() -> None:
    values = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
    lo, hi = stats.bootstrap_interval(lambda a, b: medians(a) / medians(b), values, values)
    assert lo < 1 < hi


def test_bootstrap_covers_the_mean_of_a_normal_sample() -> None:
    draws = np.random.default_rng(3).normal(size=(300, 30))
    covered = 0
    for row in draws:
        lo, hi = stats.bootstrap_interval(lambda d: d.mean(axis=1), row.tolist(), resamples=500)
        covered += lo <= 0.0 <= hi
    assert 0.90 <= covered / 300 <= 0.98


@given(st.lists(st.floats(min_value=1e-3, max_value=1e3), min_size=1, max_size=20))
def test_geometric_mean_of_ratios_and_of_their_reciprocals_multiply_to_one(ratios) -> None:
    product = stats.geometric_mean(ratios) * stats.geometric_mean([1 / r for r in ratios])
    assert product == pytest.approx(1)
    assert min(ratios) * (1 - 1e-12) <= stats.geometric_mean(ratios) <= max(ratios) * (1 + 1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused_by_name(bad: float) -> None:
    with pytest.raises(ValueError, match=f"finite, not {bad}"):
        stats.summarize([1.0, bad])


def test_no_samples_and_logarithms_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        stats.median([])
    with pytest.raises(ValueError, match="positive samples, not 0"):
        stats.ratio_interval([0.0] * 6, [1.0] * 6)
    with pytest.raises(ValueError, match="positive samples, not -2"):
        stats.geometric_mean([1.0, -2.0])


def test_intervals_know_whether_they_touch_and_contain() -> None:
    assert stats.Interval(1, 2).overlaps(stats.Interval(2, 3))
    assert not stats.Interval(1, 2).overlaps(stats.Interval(2.1, 3))
    assert stats.Interval(1, 2).within(stats.Interval(0.9, 2))
    assert not stats.Interval(1, 2).within(stats.Interval(1.1, 3))


def test_mad_is_not_moved_by_one_wild_sample() -> None:
    assert stats.mad([1.0, 2.0, 3.0, 4.0, 5.0]) == 1.0
    assert stats.mad([1.0, 2.0, 3.0, 4.0, 1e9]) == 1.0
