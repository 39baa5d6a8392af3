"""Laws of what repeats exactly, and of what training reaches over seeds."""

from dataclasses import replace

import numpy as np
import pytest

from harness.judging import scores, sizes
from harness.judging.finding import Judgement
from harness.judging.rule import Rule
from harness.judging.scores import Scores
from harness.schema import Measurement

RULE = Rule()
PEAK = Measurement(
    metric="peak_allocated",
    unit="byte",
    better="lower",
    samples=(10 << 20,),
    method="torch's peak: allocator's events",
)
FLOPS = replace(PEAK, metric="flops_executed", unit="flop", samples=(1000,), method="analytic")
ERROR = replace(PEAK, metric="error", unit="1", samples=(1e-7, 2e-7), method="relative error")


@pytest.mark.parametrize(
    ("base", "value", "judgement"),
    [
        (PEAK, 18 << 20, Judgement.REGRESSION),
        (PEAK, (11 << 20) + 1000, Judgement.PASS),  # 1 % and 1 MiB
        (PEAK, 5 << 20, Judgement.IMPROVEMENT),
        (FLOPS, 1001, Judgement.REGRESSION),
        (FLOPS, 1000, Judgement.PASS),
        (FLOPS, 999, Judgement.IMPROVEMENT),
        (ERROR, 9e-7, Judgement.PASS),  # rounding of another processor
        (ERROR, 0.4, Judgement.REGRESSION),
        (replace(ERROR, samples=(0.4,)), 0.49, Judgement.PASS),
        (replace(ERROR, samples=(0.4,)), 0.51, Judgement.REGRESSION),
    ],
)
def test_a_bound_decides(base: Measurement, value: float, judgement: Judgement) -> None:
    found = sizes.judge("c", base, replace(base, samples=(value,)), RULE)
    assert found.judgement is judgement


def test_a_suite_may_name_another_bound_and_values_that_vary_are_told() -> None:
    more = replace(FLOPS, samples=(1040, 1000))
    found = sizes.judge("c", FLOPS, more, RULE, share=0.05)
    assert (found.judgement, found.notes) == (Judgement.PASS, ("nondeterministic",))


def judged(base: list[float], candidate: list[float], solved: float | None = None) -> Judgement:
    """Judge one score."""
    one = Scores(
        cell="c", metric="quality", base=tuple(base), candidate=tuple(candidate), solved=solved
    )
    return scores.judge([one], RULE)[0].judgement


def test_a_drop_of_a_score_is_found_over_seeds() -> None:
    assert judged([0.90, 0.91, 0.89, 0.9, 0.9], [0.85, 0.86, 0.84, 0.85, 0.85]) == "regression"
    assert judged([0.90, 0.91, 0.89, 0.9, 0.9], [0.9, 0.91, 0.89, 0.89, 0.9]) == "pass"
    assert judged([0.90, 0.94, 0.85, 0.9, 0.9], [0.9, 0.85, 0.89, 0.95, 0.88]) == "inconclusive"
    assert judged([0.9, 0.9], [0.8, 0.8]) == "inconclusive"


def test_identical_scores_pass_however_few() -> None:
    assert judged([0.4], [0.4]) == "pass"
    assert judged([0.1, 0.9], [0.1, 0.9]) == "pass"


def test_a_task_that_is_learnt_or_not_is_judged_by_how_often() -> None:
    learnt, some = [0.99] * 10, [0.99] * 3 + [0.1] * 7
    assert judged(learnt, some, solved=0.9) == "regression"
    assert judged([0.99, 0.99, 0.1, 0.99, 0.99], [0.99, 0.1, 0.99, 0.99, 0.99], 0.9) != "regression"


def test_what_has_no_training_in_it_is_judged_by_the_margin() -> None:
    assert judged([0.44], [0.418]) == "regression"
    assert judged([0.44], [0.436]) == "pass"


def test_identical_items_are_judged_by_those_that_changed_sides() -> None:
    one = Scores(cell="c", metric="quality", base=(0.9,), candidate=(0.85,), items=(60, 10))
    assert scores.judge([one], RULE)[0].judgement == "regression"
    assert scores.judge([replace(one, candidate=(0.895,), items=(12, 8))], RULE)[0].judgement != (
        "regression"
    )


def test_seeds_of_identical_code_are_left_in_peace() -> None:
    chance = np.random.default_rng(0)
    alarms = 0
    for _ in range(40):
        family = [
            Scores(
                cell=f"c{i}",
                metric="quality",
                base=tuple(chance.normal(0.9, 0.02, 5)),
                candidate=tuple(chance.normal(0.9, 0.02, 5)),
            )
            for i in range(10)
        ]
        alarms += any(f.judgement is Judgement.REGRESSION for f in scores.judge(family, RULE))
    assert alarms <= 2
