"""Samples of a device in blocks: one wait for each, the device's state around each.

A block during which the device slowed itself down is set aside and taken anew, a bounded number of
times. What was set aside is kept and told; a device that never recovers yields samples that are
tagged, not an empty row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.schema import Protocol
from harness.worker.clocks import ClockState
from harness.worker.instruments import Instruments
from harness.worker.sampling import NS, collect_young
from harness.worker.stopping import StopRule

BLOCK_NS = 50_000_000  # so long is a block, unless one step is longer
MOST_STEPS = 1000  # in one block
RETAKES = 3  # blocks of a series that may be taken anew
COOL_S = 0.5  # pause before the first of them; the second waits twice, the third thrice as long

# Queues so many steps, calls the function while they run, waits, returns nanoseconds of each.
Take = Callable[[int, Callable[[], None]], Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Samples of one queue of steps, and the device before and during it."""

    samples: tuple[int, ...]  # nanoseconds
    before: ClockState
    during: ClockState

    @property
    def throttled(self) -> bool:
        """Whether heat, a hardware limit or too low a clock slowed the device."""
        return self.before.throttled or self.during.throttled

    @property
    def power_capped(self) -> bool:
        """Whether the power limit held the clocks."""
        return self.before.power_capped or self.during.power_capped


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The blocks of one figure, why sampling stopped, and what was set aside on the way."""

    kept: tuple[Block, ...]
    stop: str  # a word of `stopping.STOPS`
    retaken: tuple[Block, ...] = ()

    @property
    def samples(self) -> tuple[int, ...]:
        """Nanoseconds of each step, in order of measurement."""
        return tuple(sample for block in self.kept for sample in block.samples)

    @property
    def throttled_samples(self) -> int:
        """How many samples of the row a slowed device took."""
        return sum(len(block.samples) for block in self.kept if block.throttled)

    def facts(self, name: str) -> dict[str, list[Any]]:
        """Return the device's state as flat columns, one entry for each kept block, in order.

        `<name>_block_samples` is the number of samples of each; `<name>_retaken_ns` holds what was
        set aside. Where nothing at all is told of the device there are no columns of its state.
        Lists are what launches of a cell continue.
        """
        states = [block.during for block in self.kept]
        columns: dict[str, list[Any]] = {
            "sm_mhz": [state.sm_mhz for state in states],
            "memory_mhz": [state.memory_mhz for state in states],
            "temperature_c": [state.temperature_c for state in states],
            "power_w": [state.power_w for state in states],
            "reasons": [_words(block) for block in self.kept],
            "throttled": [block.throttled for block in self.kept],
        }
        if all(state == ClockState() for state in states):
            columns.clear()
        columns["block_samples"] = [len(block.samples) for block in self.kept]
        columns["retaken_ns"] = [sample for block in self.retaken for sample in block.samples]
        return {f"{name}_{column}": values for column, values in columns.items()}


def block_size(step_ns: float, most: int) -> int:
    """Return how many steps of this length make a block."""
    return max(1, min(most, MOST_STEPS, round(BLOCK_NS / max(step_ns, 1))))


def sample_blocks(take: Take, size: int, protocol: Protocol, tools: Instruments) -> Series:
    """Take blocks until the stop rule or the budget ends it.

    Args:
        take: measures a number of steps.
        size: steps of one block.
        protocol: samples and budgets; never exceeded by more than one block.
        tools: the host's clock and the device's state.
    """
    rule = StopRule(protocol)
    kept: list[Block] = []
    retaken: list[Block] = []
    begin, stop = tools.clock.wall_ns(), None
    while stop is None:
        block = _block(take, min(size, protocol.max_samples - rule.count), tools)
        elapsed = tools.clock.wall_ns() - begin
        if block.throttled and len(retaken) < RETAKES and elapsed < protocol.max_time_s * NS:
            retaken.append(block)
            tools.clock.sleep_s(COOL_S * len(retaken))
            continue
        kept.append(block)
        for sample in block.samples:
            rule.add(sample)
        stop = rule.reason(elapsed)
    return Series(kept=tuple(kept), stop=stop, retaken=tuple(retaken))


def _block(take: Take, count: int, tools: Instruments) -> Block:
    collect_young()
    during: list[ClockState] = []
    before = tools.state()
    samples = take(count, lambda: during.append(tools.state()))
    return Block(samples=tuple(samples), before=before, during=during[-1])


def _words(block: Block) -> list[str] | None:
    """Return what slowed the device before or during a block; its idling before is no news."""
    told = [state.words for state in (block.before, block.during)]
    if all(words is None for words in told):
        return None
    found = dict.fromkeys(word for words in told for word in words or ())
    return [word for word in found if word != "gpu_idle"]
