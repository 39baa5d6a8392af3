"""Laws of the rule for times, on launches whose truth is known: silence, power, proof."""

from collections.abc import Sequence

import numpy as np
import pytest

from harness.judging import times
from harness.judging.rule import Mode, Rule
from harness.judging.times import Slowdown, Timing

RULE = Rule()
CELLS = 20
PAIR_SD = 0.028  # of the log-ratio of two processes that take turns, on two busy cores
LAUNCH_SD = (0.04, 0.10)  # of launches that follow each other, by cell


def launches(
    chance: np.random.Generator, count: int, slower: dict[int, float], mode: Mode
) -> list[Timing]:
    """Synthetic launches: own noise of each cell, drift, a load that comes and goes, outliers."""
    spread = chance.uniform(*LAUNCH_SD, CELLS)
    drift = np.cumsum(chance.normal(0, 0.01, count))[:, None]
    load = chance.normal(0, 0.03, (2, count, 1))
    noise = chance.normal(0, 1, (2, count, CELLS)) * spread
    noise += (chance.random((2, count, CELLS)) < 0.05) * chance.exponential(0.1, (2, count, CELLS))
    base, candidate = (drift + load[i] + noise[i] for i in (0, 1))
    if mode is Mode.PAIRED:
        turns = chance.standard_t(5, (count, CELLS)) * PAIR_SD * np.sqrt(3 / 5)
        candidate = base + turns + chance.normal(0, 0.005, (count, 1))
    truth = np.zeros(CELLS)
    for cell, share in slower.items():
        truth[cell] = np.log1p(share)
    return [
        Timing(
            cell=f"c{i:02}",
            base=tuple((x,) for x in 1e7 * np.exp(base[:, i])),
            candidate=tuple((x,) for x in 1e7 * np.exp(candidate[:, i] + truth[i])),
        )
        for i in range(CELLS)
    ]


def two_stages(seed: int, slower: dict[int, float], mode: Mode) -> tuple[set[str], set[str]]:
    """Return the cells that a gate calls slower and those that it cannot judge."""
    chance = np.random.default_rng(seed)
    first, _ = times.judge(launches(chance, RULE.launches, slower, mode), RULE, mode)
    again = {s.timing.cell for s in first if s.suspicious(RULE)}
    fresh = launches(chance, RULE.again, slower, mode)
    rest = [t for t in fresh if t.cell not in again][: max(0, RULE.effect_cells - len(again))]
    told, _ = times.judge([t for t in fresh if t.cell in again], RULE, mode, rest)
    red = {s.timing.cell for s in told if s.slower}
    return red, {s.timing.cell for s in told if not (s.slower or s.proven or s.faster)}


def share_found(size: float, mode: Mode, gates: int = 15) -> float:
    """Return in which share of gates one slower cell is found."""
    return sum("c03" in two_stages(seed, {3: size}, mode)[0] for seed in range(gates)) / gates


@pytest.mark.parametrize("mode", [Mode.PAIRED, Mode.INTERLEAVED])
def test_identical_code_is_left_in_peace(mode: Mode) -> None:
    gates = 20
    alarms = sum(bool(two_stages(seed, {}, mode)[0]) for seed in range(gates))
    assert alarms == 0


def test_identical_code_in_turns_is_proven_to_pass() -> None:
    open_ = sum(len(two_stages(seed, {}, Mode.PAIRED)[1]) for seed in range(10))
    assert open_ <= 0.01 * 10 * CELLS


def test_a_tenth_and_a_fifth_slower_are_found_in_turns() -> None:
    assert share_found(0.10, Mode.PAIRED) >= 0.80
    assert share_found(0.20, Mode.PAIRED) >= 0.98


def test_a_slowdown_of_all_cells_is_the_codes_in_a_duet_and_the_machines_if_stored() -> None:
    chance = np.random.default_rng(3)
    all_of = dict.fromkeys(range(CELLS), 0.08)
    duet, shift = times.judge(launches(chance, 10, all_of, Mode.PAIRED), RULE, Mode.PAIRED)
    assert shift.is_real
    assert sum(s.slower for s in duet) >= 0.9 * CELLS
    stored, shift = times.judge(launches(chance, 10, all_of, Mode.INTERLEAVED), RULE, Mode.STORED)
    assert not any(s.slower for s in stored)


def test_a_slowdown_of_half_of_the_cells_is_not_absorbed() -> None:
    half = dict.fromkeys(range(0, CELLS, 2), 0.12)
    found, _ = times.judge(
        launches(np.random.default_rng(1), 10, half, Mode.PAIRED), RULE, Mode.PAIRED
    )
    red = {s.timing.cell for s in found if s.slower}
    assert len(red & {f"c{i:02}" for i in half}) >= 8


def test_a_pass_needs_proof() -> None:
    wild = one([1.0, 1.4, 0.7, 1.2, 0.8], [1.1, 0.8, 1.3, 0.9, 1.0])
    calm = one([1.0, 1.001, 0.999, 1.0, 1.0], [1.0, 1.0, 1.001, 0.999, 1.0])
    assert [s.proven for s in judged([wild, calm])] == [False, True]


def test_a_difference_that_a_clock_cannot_tell_is_none() -> None:
    tiny = one([1e-3] * 5, [1.5e-3] * 5)  # of a millisecond: 0.5 microseconds
    assert not judged([tiny])[0].slower
    assert judged([one([1.0] * 5, [1.5] * 5)])[0].slower


def test_faster_is_the_mirror_of_slower() -> None:
    values = [1.0, 1.01, 0.99, 1.02, 1.0], [1.3, 1.31, 1.29, 1.32, 1.3]
    there, back = judged([one(*values)])[0], judged([one(*reversed(values))])[0]
    assert (there.slower, there.faster) == (True, False)
    assert (back.slower, back.faster) == (False, True)
    assert there.estimate == pytest.approx(-back.estimate)


def test_the_detectable_slowdown_is_that_of_the_table() -> None:
    # 10 launches a side, isolated cell of 50, between-launch sd of 5 %: gate tables say 14 %
    chance = np.random.default_rng(0)
    cells = [
        Timing(
            cell=f"{i}",
            base=tuple((x,) for x in 1e7 * np.exp(chance.normal(0, 0.05, 10))),
            candidate=tuple((x,) for x in 1e7 * np.exp(chance.normal(0, 0.05, 10))),
        )
        for i in range(50)
    ]
    found, _ = times.judge(cells, RULE, Mode.INTERLEAVED)
    middle = float(np.median([np.expm1(s.detectable) for s in found]))
    assert 0.11 <= middle <= 0.17


def test_fewer_values_than_two_prove_nothing() -> None:
    (found,) = judged([one([1.0], [2.0])])
    assert (found.slower, found.proven) == (False, False)


def test_no_cells_are_no_findings() -> None:
    assert times.judge([], RULE, Mode.PAIRED)[0] == ()


def one(base: Sequence[float], candidate: Sequence[float]) -> Timing:
    """A cell with one number a launch, in milliseconds."""
    return Timing(
        cell="c",
        base=tuple((1e6 * x,) for x in base),
        candidate=tuple((1e6 * x,) for x in candidate),
    )


def judged(timings: Sequence[Timing]) -> tuple[Slowdown, ...]:
    return times.judge(timings, RULE, Mode.PAIRED)[0]
