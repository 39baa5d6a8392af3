"""Audit: does a mechanism cheat the clock or the proof, or fool itself?

Known tricks (reports on public kernel competitions): outputs cached by address, stale outputs,
right only in the first call, work that goes on after the call returned, timers replaced. The
mechanism is called on other values at the same addresses, on the same values at other addresses
and on inputs that it has never seen; every output is compared with the float64 reference, that of
the last timed call too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch
from torch import Tensor

from harness.schema import Cell
from harness.worker.clock import Clock
from harness.worker.device import synchronize
from harness.worker.failure import WrongError
from harness.worker.proof import TOLERANCE, Pair, make_pair, relative_errors, sample_rows
from models.variant import Variant

ROUNDS = 7  # timed calls on repeated and on unique inputs, in turn
SUSPICIOUS = 1.5  # unique inputs over repeated ones: more is told as a finding
REST_S = 0.02  # how long work after the return is looked for
BUSY = 0.5  # share of this rest in which the process may not be at work
_NAMES = (
    *("time", "time_ns", "perf_counter", "perf_counter_ns", "process_time", "process_time_ns"),
    *("monotonic", "monotonic_ns", "thread_time", "thread_time_ns", "sleep"),
)
# Bound when this module is imported, which is before any variant from outside is.
TIMERS: Mapping[str, Callable[..., Any]] = {
    **{f"time.{name}": getattr(time, name) for name in _NAMES},
    "torch.cuda.synchronize": torch.cuda.synchronize,
    "torch.cuda.Event": torch.cuda.Event,
    "torch.cuda.Event.record": torch.cuda.Event.record,
    "torch.cuda.Event.elapsed_time": torch.cuda.Event.elapsed_time,
}


def audit(
    cell: Cell, variant: Variant, options: Any, impl: str, *, seed: int, clock: Clock
) -> dict[str, Any]:
    """Return the findings about the impl that was asked for.

    Args:
        cell: gives shape, dtype and device.
        variant: the mechanism.
        options: of the mechanism.
        impl: the one that is timed, `auto` already resolved.
        seed: of the inputs.
        clock: read around the timed calls.

    Returns:
        `unique_over_repeated` and `fresh_over_repeated`, ratios of median times of calls on inputs
        never seen, and on known values at new addresses, to calls on the same inputs again;
        `returns_early`, whether the process or the device went on working after a call returned;
        `suspicions`, in words.

    Raises:
        WrongError: a timer was replaced, or an output is not that of its inputs.
    """
    _timers()
    with torch.no_grad():
        trial = _Trial(make_pair(cell, variant, options, impl), variant.tolerance, seed, clock)
        trial.compare_all()
        times = trial.time_all()
        early = trial.returns_early()
    _timers()
    repeated = max(median(times["repeated"]), 1)
    found: dict[str, Any] = {
        "unique_over_repeated": round(median(times["unique"]) / repeated, 3),
        "fresh_over_repeated": round(median(times["fresh"]) / repeated, 3),
        "returns_early": early,
    }
    return {**found, "suspicions": _suspicions(found)}


class _Trial:
    """A mechanism and its reference under other and other inputs."""

    def __init__(self, pair: Pair, tolerance: float, seed: int, clock: Clock) -> None:
        self._pair, self._clock = pair, clock
        self._tolerance = TOLERANCE[pair.cell.dtype] * tolerance
        self._generator = torch.Generator().manual_seed(seed)
        self._rows = sample_rows(pair.seq_len, self._generator).to(pair.cell.device)

    def compare_all(self) -> None:
        inputs = self._pair.draw(self._generator)
        self._compare("the first call", inputs)
        self._compare("a second call on the same inputs", inputs)
        for place, values in zip(inputs, self._pair.draw(self._generator), strict=True):
            place.copy_(values)
        self._compare("other values at the same addresses", inputs)
        self._compare("the same values at other addresses", [x.clone() for x in inputs])
        self._compare("inputs never seen", self._pair.draw(self._generator))

    def time_all(self) -> dict[str, list[int]]:
        """Time calls on repeated, moved and unique inputs in turn; check the last one's output."""
        known = self._pair.draw(self._generator)
        times: dict[str, list[int]] = {"repeated": [], "fresh": [], "unique": []}
        output, inputs = None, known
        self._pair.asked(*known)
        for _ in range(ROUNDS):
            given = {
                "repeated": known,
                "fresh": [x.clone() for x in known],
                "unique": self._pair.draw(self._generator),
            }
            for kind, inputs in given.items():
                taken, output = self._timed(inputs)
                times[kind].append(taken)
        assert output is not None
        self._judge("the last timed call", inputs, output)
        return times

    def returns_early(self) -> bool:
        """Say whether work goes on after a call returned: on the device's other streams, too."""
        cell, clock = self._pair.cell, self._clock
        inputs = self._pair.draw(self._generator)
        if cell.device == "cuda":
            return self._side_streams(inputs)
        self._pair.asked(*inputs)
        begin = clock.cpu_ns()
        clock.sleep_s(REST_S)
        return clock.cpu_ns() - begin > BUSY * REST_S * 1e9

    def _side_streams(self, inputs: list[Tensor]) -> bool:
        """Compare the rest of the current stream with that of the whole device."""
        synchronize("cuda")
        self._pair.asked(*inputs)
        torch.cuda.current_stream().synchronize()
        begin = self._clock.wall_ns()
        synchronize("cuda")
        return self._clock.wall_ns() - begin > BUSY * self._timed(inputs)[0]

    def _timed(self, inputs: list[Tensor]) -> tuple[int, Tensor]:
        cell, clock = self._pair.cell, self._clock
        synchronize(cell.device)
        read = clock.wall_ns if cell.device == "cuda" else clock.cpu_ns
        begin = read()
        output = self._pair.asked(*inputs)
        synchronize(cell.device)
        return read() - begin, output

    def _compare(self, what: str, inputs: list[Tensor]) -> None:
        self._judge(what, inputs, self._pair.asked(*inputs))

    def _judge(self, what: str, inputs: list[Tensor], output: Tensor) -> None:
        q, k, v = (x.double() for x in inputs)
        wanted = self._pair.reference.rows(q, k, v, self._rows)
        got = {"values": output[:, :, self._rows]}
        error = relative_errors(got, {"values": wanted})["values"]
        if not error <= self._tolerance:  # catches NaN too
            raise WrongError(
                f"audit: {what}: values off by {error:.2g} (relative Frobenius error against the "
                f"float64 reference; allowed {self._tolerance:.2g})"
            )


def _timers() -> None:
    replaced = [name for name, timer in TIMERS.items() if _now(name) is not timer]
    if replaced:
        raise WrongError(f"audit: the code under test replaced {', '.join(replaced)}")


def _now(name: str) -> Any:
    """Return what a name like `torch.cuda.Event` means now."""
    first, *rest = name.split(".")
    found: Any = {"time": time, "torch": torch}[first]
    for part in rest:
        found = getattr(found, part)
    return found


def _suspicions(found: Mapping[str, Any]) -> list[str]:
    told = {
        "unique_over_repeated": "inputs never seen take {:g} times as long as known ones",
        "fresh_over_repeated": "known values at new addresses take {:g} times as long",
    }
    suspicions = [text.format(found[key]) for key, text in told.items() if found[key] > SUSPICIOUS]
    return suspicions + ["work goes on after a call has returned"] * bool(found["returns_early"])
