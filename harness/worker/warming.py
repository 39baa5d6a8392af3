"""The first call of a step, and steps until compilers and clocks are quiet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.schema import Protocol
from harness.worker.blocks import block_size
from harness.worker.instruments import Instruments
from harness.worker.sampling import NS

QUIET_ROUNDS = 2  # in a row, without a compilation and with a steady clock
STEADY = 0.02  # relative spread of the SM clock over them


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """What happened before the first sample."""

    first: int  # nanoseconds of the first call: compilation, tuning, lazy initialisation
    first_compiles: int  # events of the compilers during it
    rounds: tuple[int, ...]  # nanoseconds of one step, as the mean of each later round
    compiles: int  # events of the compilers during those
    stop: str  # `quiet`; `max_time` if it never became so


def warm_up(step: Callable[[], object], protocol: Protocol, tools: Instruments) -> WarmUp:
    """Step until nothing is compiled any more and the device's clock has risen and stays.

    Rounds of about 50 ms with one wait each keep the device busy. At least `warmups` steps (the
    first call is one) and `min_time_s`; at most `max_time_s`, the first call not counted.
    """
    begin = tools.compiles()
    first = _round(step, 1, tools)
    first_compiles = tools.compiles() - begin
    rounds: list[int] = []
    compiled: list[int] = []
    clocks: list[int | None] = []
    steps, spent = 1, 0
    while True:
        if _is_quiet(compiled, clocks) and _is_enough(steps, spent, protocol):
            stop = "quiet"
            break
        if rounds and spent >= protocol.max_time_s * NS:
            stop = "max_time"
            break
        count = block_size(rounds[-1], protocol.max_samples) if rounds else 1
        before = tools.compiles()
        total = _round(step, count, tools)
        steps, spent = steps + count, spent + total
        rounds.append(round(total / count))
        compiled.append(tools.compiles() - before)
        clocks.append(tools.state().sm_mhz)
    return WarmUp(
        first=first,
        first_compiles=first_compiles,
        rounds=tuple(rounds),
        compiles=sum(compiled),
        stop=stop,
    )


def _round(step: Callable[[], object], count: int, tools: Instruments) -> int:
    begin = tools.clock.wall_ns()
    for _ in range(count):
        step()
    tools.cuda.synchronize()
    return tools.clock.wall_ns() - begin


def _is_quiet(compiled: list[int], clocks: list[int | None]) -> bool:
    """Return whether the last rounds compiled nothing at one clock; an unread clock is no bar."""
    if len(compiled) < QUIET_ROUNDS or any(compiled[-QUIET_ROUNDS:]):
        return False
    told = [clock for clock in clocks[-QUIET_ROUNDS:] if clock is not None]
    return not told or max(told) - min(told) <= STEADY * max(told)


def _is_enough(steps: int, spent: int, protocol: Protocol) -> bool:
    return steps >= protocol.warmups and spent >= protocol.min_time_s * NS
