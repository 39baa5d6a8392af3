"""Laws of contrasts: scipy's figures, robustness, bounds that agree with tests."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.judging import contrast, evidence

OURS = (3.1, 2.9, 3.4, 3.3, 3.0, 3.2, 9.9, 3.1)
THEIRS = (2.8, 2.7, 3.0, 2.9, 2.6, 2.8, 2.7, 2.9, 0.1)


def test_trimming_leaves_an_outlier_on_either_side_without_say() -> None:
    plain = contrast.two_groups(OURS, THEIRS, 0)
    trimmed = contrast.two_groups(OURS, THEIRS, 0.2)
    assert plain is not None
    assert trimmed is not None
    # The figures are those of ttest_ind in scipy 1.17, one-sided, unequal variances.
    assert trimmed.above(0) == pytest.approx(0.0009805, rel=1e-3)
    assert trimmed.df == pytest.approx(9.02185, rel=1e-4)
    assert plain.above(0) > 0.03


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=12), st.floats(-0.5, 0.5))
def test_a_bound_excludes_exactly_what_its_test_does(values: list[float], limit: float) -> None:
    found = contrast.pairs(values, 0)
    assert found is not None
    if found.error > 1e-9 and abs(found.upper(0.95) - limit) > 1e-9:
        assert (found.upper(0.95) < limit) == (found.below(limit) < 0.05)
        assert found.lower(0.9) <= found.mean <= found.upper(0.9)


def test_what_does_not_vary_is_as_it_looks() -> None:
    found = contrast.two_groups([1.0] * 5, [0.9] * 5, 0.2)
    assert found is not None
    assert (found.above(0.05), found.above(0.2)) == (0.0, 1.0)


def test_one_value_is_no_group() -> None:
    assert contrast.two_groups([1.0], [1.0, 2.0], 0) is None
    assert contrast.pairs([1.0], 0) is None


def test_the_detectable_difference_is_found_four_times_in_five() -> None:
    chance = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        noise = chance.normal(0, 0.03, 10)
        found = contrast.pairs(noise.tolist(), 0)
        assert found is not None
        true = contrast.Contrast(mean=0, error=0.03 / np.sqrt(10), df=9).detectable(0.01)
        moved = contrast.pairs((noise + true).tolist(), 0)
        assert moved is not None
        hits += moved.above(0) <= 0.01
    assert 0.72 <= hits / 400 <= 0.88


def test_adjusted_p_values_are_those_of_benjamini_and_hochberg() -> None:
    # scipy.stats.false_discovery_control
    p = [0.01, 0.04, 0.03, 0.005, 0.5]
    assert evidence.adjusted(p) == pytest.approx([0.025, 0.05, 0.05, 0.025, 0.5])
    assert evidence.adjusted([]) == []


@pytest.mark.parametrize(
    ("base", "candidate", "p"),
    [((5, 5), (1, 5), 0.0107421875), ((9, 10), (3, 10), 0.00397778), ((3, 5), (4, 5), 1.0)],
)
def test_fewer_solved_seeds_are_told_by_boschloos_test(
    base: tuple[int, int], candidate: tuple[int, int], p: float
) -> None:
    assert evidence.fewer_solved(base, candidate) == pytest.approx(p, rel=1e-3)


def test_lost_items_are_told_by_an_exact_binomial_test() -> None:
    assert evidence.lost_items(9, 2) == pytest.approx(67 / 2048)
    assert evidence.lost_items(0, 0) == 1
