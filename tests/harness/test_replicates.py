"""Laws of launches as the unit: samples of one process do not make up for processes."""

import math

import numpy as np
import pytest

from harness import replicates
from harness.replicates import Estimate, Samples, student_t

# Student's t at p = 0.975, from the tables of Pearson and Hartley (1966).
TABLE = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 10: 2.2281, 29: 2.0452}


def launches(
    levels: np.ndarray, names: str = "", noise: float = 0.001, seed: int = 0, size: int = 20
) -> Samples:
    """Launches of these levels (logarithms); one letter of `names` is the name of a sitting."""
    generator = np.random.default_rng(seed)
    groups = [np.exp(level + noise * generator.standard_normal(size)) for level in levels]
    return Samples(
        samples=np.concatenate(groups).tolist(),
        launches=(size,) * len(levels),
        sittings=tuple(names),
    )


@pytest.mark.parametrize(("freedom", "expected"), TABLE.items())
def test_quantiles_of_t_are_those_of_the_tables(freedom: int, expected: float) -> None:
    assert student_t(0.975, freedom) == pytest.approx(expected, abs=6e-5)


def test_quantiles_of_t_grow_with_p_and_reach_the_normal_law() -> None:
    found = [student_t(p, 7) for p in (0.5, 0.6, 0.9, 0.99, 0.9999)]
    assert found[0] == pytest.approx(0)
    assert found == sorted(found)
    assert student_t(0.975, 10_001) == pytest.approx(1.96, abs=1e-3)


@pytest.mark.parametrize(("p", "freedom"), [(0.4, 3), (1.0, 3), (0.9, 0)])
def test_what_has_no_quantile_is_refused(p: float, freedom: int) -> None:
    with pytest.raises(ValueError, match="no quantile"):
        student_t(p, freedom)


def test_samples_are_told_apart_by_launch_and_by_sitting() -> None:
    values = Samples(samples=[1, 2, 3, 4, 5], launches=(2, 0, 3), sittings=("x", "y", ""))
    assert [list(group) for group in replicates.by_launch(values)] == [[1, 2], [3, 4, 5]]
    assert {n: list(g) for n, g in replicates.by_sitting(values).items()} == {"x": [1, 2]}
    assert [list(g) for g in replicates.by_launch(Samples(samples=[1, 2]))] == [[1, 2]]


def test_words_give_back_launches_and_sittings() -> None:
    values = Samples(samples=[1, 2, 3], launches=(1, 2), sittings=("", "ab12"))
    assert replicates.of_words([1, 2, 3], *values.words) == values
    assert replicates.of_words([1], *Samples(samples=[1]).words) == Samples(samples=[1])


def test_pairs_cancel_what_both_sides_have_in_common() -> None:
    weather = np.array([0.0, 0.3, -0.2, 0.5, 0.1])
    base, other = launches(weather, "abcde"), launches(weather + 0.05, "abcde", seed=1)
    paired = replicates.ratio(base, other)
    assert paired is not None
    assert paired.value == pytest.approx(math.exp(0.05), rel=2e-3)
    assert paired.error < 0.001
    assert paired.freedom == 4
    strangers = replicates.ratio(base, launches(weather + 0.05, "vwxyz", seed=1))
    assert strangers is not None
    assert strangers.error > 100 * paired.error


def test_launches_without_a_partner_do_not_enter_a_ratio_of_pairs() -> None:
    base = launches(np.array([0.0, 0.1, 7.0]), "ab-")
    other = launches(np.array([0.1, 0.0]), "ba")
    found = replicates.ratio(base, other)
    assert found is not None
    assert found.log == pytest.approx(0, abs=2e-3)


def test_the_order_of_launches_does_not_matter_to_pairs() -> None:
    levels = np.array([0.0, 0.2, 0.4])
    base = launches(levels, "abc")
    found = [
        replicates.ratio(base, launches(levels[order], "".join("abc"[i] for i in order)))
        for order in ([0, 1, 2], [2, 0, 1])
    ]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].log == pytest.approx(found[1].log, abs=2e-3)


def test_strangers_are_compared_by_welch() -> None:
    """Against a worked example: n 6 and 4, variances 1 and 9 (times 1e-4)."""
    first = np.array([1, -1, 1, -1, 1, -1]) * 0.01
    second = 0.1 + np.array([1, -1, 1, -1]) * 0.03
    found = replicates.ratio(launches(first, noise=0), launches(second, noise=0))
    a, b = np.var(first, ddof=1) / 6, np.var(second, ddof=1) / 4
    assert found is not None
    assert found.error == pytest.approx(math.sqrt(a + b))
    assert found.freedom == int((a + b) ** 2 / (a**2 / 5 + b**2 / 3))
    assert found.log == pytest.approx(0.1)


def test_a_ratio_turned_round_is_the_inverse_and_a_unit_changes_nothing() -> None:
    levels = np.array([0.0, 0.2, 0.1])
    a, b = launches(levels, "abc"), launches(levels[::-1], "abc", seed=1)
    there, back = replicates.ratio_interval(a, b), replicates.ratio_interval(b, a)
    assert there is not None
    assert back is not None
    assert there.lo == pytest.approx(1 / back.hi)
    scaled = Samples(samples=[8 * x for x in b.samples], launches=b.launches, sittings=b.sittings)
    larger = replicates.ratio_interval(a, scaled)
    assert larger == pytest.approx((8 * there.lo, 8 * there.hi))


def test_one_launch_says_nothing_of_the_luck_of_launches() -> None:
    one, several = Samples(samples=[1.0, 1.1] * 10), launches(np.zeros(3))
    assert replicates.level(one) is None
    assert replicates.ratio(one, one) is None
    assert replicates.ratio(one, several) is None
    assert replicates.ratio_interval(one, several) is None
    assert replicates.ratio_interval(one, one) is not None


def test_the_interval_of_a_value_tells_the_spread_between_launches() -> None:
    calm = replicates.interval(launches(np.zeros(5)))
    lucky = replicates.interval(launches(np.array([0.1, -0.1, 0.05, 0.0, -0.05])))
    assert calm is not None
    assert lucky is not None
    assert lucky.hi - lucky.lo > 20 * (calm.hi - calm.lo)
    assert replicates.interval(Samples(samples=[1.0] * 5)) is None
    zeros = Samples(samples=[0.0] * 12, launches=(6, 6))
    assert replicates.interval(zeros) == (0.0, 0.0)


@pytest.mark.parametrize("tail", [3, 30])
def test_intervals_of_equal_sides_cover_one_in_95_of_100_whatever_the_tails(tail: int) -> None:
    """1000 null experiments; launches differ by a Student's t of few degrees of freedom."""
    generator = np.random.default_rng(tail)
    covered = 0
    for _ in range(1000):
        differences = 0.02 * generator.standard_t(tail, size=5)
        samples = [Samples(samples=x, launches=(1,) * 5, sittings=tuple("abcde")) for x in
                   ([1.0] * 5, np.exp(differences).tolist())]  # fmt: skip
        lo, hi = replicates.ratio_interval(*samples) or (0, 0)
        covered += lo <= 1 <= hi
    assert 0.925 <= covered / 1000 <= 0.99


def test_draws_scatter_as_the_interval_says() -> None:
    estimate = Estimate(log=0.3, error=0.02, freedom=4)
    draws = np.exp(estimate.draws(40_000, 0))
    lo, hi = estimate.interval()
    assert np.mean((draws > lo) & (draws < hi)) == pytest.approx(0.95, abs=0.005)
    assert (draws == np.exp(estimate.draws(40_000, 0))).all()


def test_samples_that_are_not_positive_are_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        replicates.level(Samples(samples=[1.0, 0.0], launches=(1, 1)))
