"""Laws of curves over sequence length."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.replicates import Samples
from harness.scaling import Crossover, Exponent, crossover, fit_exponent

LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)


def fitted(*arguments, **options) -> Exponent:
    fit = fit_exponent(*arguments, **options)
    assert fit is not None
    return fit


def crossed(*arguments) -> Crossover:
    found = crossover(*arguments)
    assert found is not None
    return found


def noisy(value: float, n: int = 10, spread: float = 0.01, seed: int = 0) -> list[float]:
    return (value * np.random.default_rng(seed).lognormal(sigma=spread, size=n)).tolist()


def launched(
    value: float, luck: float, names: str = "", seed: int = 0, weather: float = 0.0
) -> Samples:
    """Five launches of twenty samples, which differ by their luck and little within one."""
    generator = np.random.default_rng(seed)
    shared = weather * np.random.default_rng(99).standard_normal(5)
    levels = math.log(value) + luck * generator.standard_normal(5) + shared
    samples = np.exp(np.repeat(levels, 20) + 0.001 * generator.standard_normal(100))
    return Samples(samples=samples.tolist(), launches=(20,) * 5, sittings=tuple(names))


@settings(max_examples=30)
@given(st.floats(min_value=0, max_value=3), st.floats(min_value=1e-6, max_value=1e6))
def test_an_exact_power_law_is_recovered(p: float, scale: float) -> None:
    for values in ([scale * n**p for n in LENGTHS], [[scale * n**p] * 6 for n in LENGTHS]):
        fit = fitted(LENGTHS, values)
        assert [fit.exponent, fit.lo, fit.hi] == pytest.approx([p] * 3, abs=1e-9)
        far = [n for n in LENGTHS if n**p >= 4 * LENGTHS[0] ** p * (1 - 1e-9)]
        assert fit.from_length == (far[0] if len(far) >= 3 else 4096)
        assert fit.to_length == 16384
        assert fit.fixed_share == pytest.approx((LENGTHS[0] / fit.from_length) ** p)


@pytest.mark.parametrize("fixed", [0.0, 100.0, 1000.0])
def test_only_lengths_take_part_where_what_is_fixed_is_a_quarter_at_most(fixed: float) -> None:
    values = [fixed + (n / 512) ** 2 for n in LENGTHS]
    fit = fitted(LENGTHS, values)
    first = values[LENGTHS.index(fit.from_length)]
    if fit.from_length > 4096 or first >= 4 * values[0]:
        assert fixed / first <= fit.fixed_share <= 0.25
    else:  # three lengths at least, and the reader is told how much may be fixed
        assert (fit.from_length, fit.fixed_share > 0.25) == (4096, True)


def test_a_long_curve_is_used_beyond_its_foot_and_a_flat_one_by_its_upper_half() -> None:
    assert fitted(LENGTHS, [float(n) ** 2 for n in LENGTHS]).from_length == 1024
    assert fitted(LENGTHS, [float(n) for n in LENGTHS]).from_length == 2048
    assert fitted(LENGTHS, [1.0] * 6).from_length == 4096
    assert fitted(LENGTHS, [1.0] * 6).fixed_share == 1


def test_the_lower_half_where_fixed_costs_rule_does_not_take_part() -> None:
    fit = fitted(LENGTHS, [max(n, 4096) ** 2.0 for n in LENGTHS])
    assert fit.exponent == pytest.approx(2)
    assert fit.per_doubling == pytest.approx(4)


@pytest.mark.parametrize(("count", "used"), [(3, 3), (4, 3), (5, 3), (6, 3), (7, 4), (8, 4)])
def test_of_a_flat_curve_the_upper_half_takes_part_and_three_lengths_at_least(
    count: int, used: int
) -> None:
    lengths = [2**i for i in range(count)]
    fit = fitted(lengths, [1 + n / 1000 for n in range(count)])
    assert (fit.from_length, fit.to_length) == (lengths[-used], lengths[-1])


def test_two_lengths_have_no_exponent() -> None:
    assert fit_exponent([1024, 2048], [1.0, 2.0]) is None
    assert fit_exponent([], []) is None


def test_interval_of_an_exponent_covers_the_truth_at_the_stated_rate() -> None:
    covered = 0
    for seed in range(150):
        values = [
            noisy(n**1.5, n=12, spread=0.1, seed=1000 * seed + i) for i, n in enumerate(LENGTHS)
        ]
        fit = fitted(LENGTHS, values, seed=seed)
        assert fit.method == "bootstrap"
        covered += fit.lo <= 1.5 <= fit.hi
    assert covered / 150 >= 0.9


@given(st.lists(st.floats(min_value=1, max_value=1e9), min_size=3, max_size=9))
def test_without_samples_the_interval_is_the_range_of_slopes_and_holds_the_fit(values) -> None:
    fit = fitted([2**i for i in range(len(values))], values)
    assert fit.method == "neighbours"
    assert fit.lo - 1e-9 <= fit.exponent <= fit.hi + 1e-9


@given(st.randoms(use_true_random=False))
def test_lengths_may_come_in_any_order(random) -> None:
    points = [(n, noisy(n**1.1, n=6, seed=n)) for n in LENGTHS]
    shuffled = random.sample(points, len(points))
    assert fitted(*zip(*shuffled, strict=True)) == fitted(*zip(*points, strict=True))


@settings(max_examples=30)
@given(st.floats(min_value=600, max_value=16000))
def test_power_laws_cross_where_algebra_says(truth: float) -> None:
    baseline = [float(n) ** 2 for n in LENGTHS]
    found = crossed(LENGTHS, baseline, [truth * n for n in LENGTHS])
    assert found.length == pytest.approx(truth)
    assert (found.changes, found.lo, found.hi) == (1, None, None)


def test_bounds_of_a_crossover_hold_the_truth_and_shrink_with_the_noise() -> None:
    widths = []
    for spread in (0.2, 0.02):
        baseline = [noisy(n**2, n=20, spread=spread, seed=n) for n in LENGTHS]
        contender = [noisy(3000 * n, n=20, spread=spread, seed=n + 1) for n in LENGTHS]
        found = crossed(LENGTHS, baseline, contender)
        assert found.lo is not None
        assert found.hi is not None
        assert found.lo <= min(3000, found.length) <= max(3000, found.length) <= found.hi
        widths.append(found.hi - found.lo)
    assert widths[1] < widths[0] / 5


def test_a_contender_that_is_not_below_at_the_end_never_crosses() -> None:
    assert crossover(LENGTHS, [1.0] * 6, [2.0] * 6) is None
    assert crossover(LENGTHS, [1.0] * 6, [0.5] * 5 + [1.5]) is None
    assert crossover(LENGTHS, [1.0] * 6, [1.0] * 6) is None
    assert crossover([], [], []) is None


def test_a_contender_that_is_below_everywhere_is_so_from_the_first_length() -> None:
    found = crossed(LENGTHS, [noisy(2.0)] * 6, [noisy(1.0)] * 6)
    assert found.everywhere
    assert (found.length, found.lo) == (512, None)


def test_of_several_changes_the_last_counts_and_all_are_told() -> None:
    found = crossed(LENGTHS, [1.0] * 6, [2.0, 0.5, 2.0, 0.5, 0.5, 0.25])
    assert found.changes == 3
    assert found.length == pytest.approx(math.sqrt(2048 * 4096))


def test_a_crossing_that_noise_could_undo_has_no_upper_bound() -> None:
    baseline = [noisy(1.0, spread=0.3, seed=i) for i in range(6)]
    contender = [[2.0] * 10] * 5 + [[sorted(baseline[5])[4]] * 10]
    found = crossed(LENGTHS, baseline, contender)
    assert found.hi is None
    assert found.lo is not None


def test_curves_that_touch_zero_or_repeat_a_length_are_refused() -> None:
    with pytest.raises(ValueError, match="positive samples, not 0"):
        fit_exponent(LENGTHS, [0.0] * 6)
    with pytest.raises(ValueError, match="each length may occur once"):
        crossover([1, 1], [1.0, 1.0], [2.0, 2.0])


def test_the_luck_of_launches_widens_exponents_and_crossings_where_samples_are_many() -> None:
    calm, lucky = (
        fitted(LENGTHS, [launched(n**1.5, luck, seed=i) for i, n in enumerate(LENGTHS)])
        for luck in (0.002, 0.1)
    )
    assert lucky.method == "bootstrap"
    assert lucky.hi - lucky.lo > 10 * (calm.hi - calm.lo)
    assert lucky.lo < 1.5 < lucky.hi
    base = [launched(n**2 / 2000, 0.002, seed=50 + i) for i, n in enumerate(LENGTHS)]
    spans = []
    for luck in (0.002, 0.1):
        other = [launched(float(n), luck, seed=i) for i, n in enumerate(LENGTHS)]
        found = crossed(LENGTHS, base, other)
        assert found.lo is not None
        assert found.hi is not None
        spans.append(found.hi - found.lo)
    assert spans[1] > 5 * spans[0]


def test_pairs_of_a_sitting_cross_as_pairs() -> None:
    """The weather of a sitting is a third of the values; pairs do not see it."""
    curves = [
        [launched(f(n), 0.002, names, seed=i + 10 * k, weather=0.3) for i, n in enumerate(LENGTHS)]
        for k, f in enumerate((lambda n: n**2 / 2000, lambda n: 1.0 * n))
        for names in ("abcde",)
    ]
    found = crossed(LENGTHS, *curves)
    assert found.lo is not None
    assert found.hi is not None
    assert 1950 < found.lo < 2000 < found.hi < 2060
    strangers = [Samples(samples=p.samples, launches=p.launches) for p in curves[1]]
    loose = crossed(LENGTHS, curves[0], strangers)
    assert loose.lo is None or loose.lo < 1700
