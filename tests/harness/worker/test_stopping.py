import math
import random
import statistics

import pytest

from harness.schema import Measurement, Protocol
from harness.worker.stopping import STOPS, StopRule

S = 1_000_000_000
PROTOCOL = Protocol(min_samples=10, max_samples=1000, min_time_s=1.0, max_time_s=5.0)


def fed(samples, protocol=PROTOCOL) -> StopRule:
    rule = StopRule(protocol)
    for sample in samples:
        rule.add(sample)
    return rule


def noisy(count: int, sigma: float) -> list[float]:
    draw = random.Random(1)
    return [draw.gauss(1e6, sigma * 1e6) for _ in range(count)]


def test_the_running_noise_is_the_relative_standard_deviation() -> None:
    samples = noisy(50, 0.1)
    wanted = statistics.stdev(samples) / statistics.mean(samples)
    assert fed(samples).noise == pytest.approx(wanted)


def test_quiet_samples_stop_as_stable_at_the_least_number_and_time() -> None:
    assert fed(noisy(10, 0.004)).reason(1 * S) == "stable"
    assert fed(noisy(9, 0.004)).reason(1 * S) is None
    assert fed(noisy(10, 0.004)).reason(S - 1) is None


def test_noise_that_stays_as_it_is_stops_as_a_floor() -> None:
    assert fed(noisy(600, 0.05)).reason(1 * S) == "noise_floor"


def test_noise_that_still_changes_goes_on() -> None:
    growing = [1e6 * (1 + n * n) for n in range(600)]
    assert fed(growing[:40]).reason(1 * S) is None  # fewer estimates than the rule wants
    assert fed([1e6] * 100 + [5e6] * 100).reason(1 * S) is None


def test_the_budget_ends_what_is_not_stable() -> None:
    assert fed([1, 2, 3, 4]).reason(5 * S) == "max_time"
    assert fed([1, 2, 3]).reason(100 * S) is None  # four samples at least, however slow
    assert fed(noisy(20, 0.5), Protocol(max_samples=20)).reason(0) == "max_samples"


def test_samples_of_zero_are_stable_and_none_at_all_are_not() -> None:
    assert fed([0.0] * 10).reason(1 * S) == "stable"
    assert fed([]).noise == math.inf
    assert fed([-1, 1]).noise == math.inf


def test_the_words_are_all_documented() -> None:
    words = ("single", "enough", "stable", "noise_floor", "max_time", "max_samples", "ended")
    assert set(STOPS) == set(words)
    assert Measurement(metric="x", unit="1", better="lower", samples=(1,)).stop in STOPS
