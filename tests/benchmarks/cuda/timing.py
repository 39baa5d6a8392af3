"""Samples of several steps in turn, and the peak of memory of one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch

from harness.worker import spin
from harness.worker.flush import make_flush

WARMUPS, ROUNDS = 3, 15


class Timer(Protocol):
    """Times one step, and weighs one."""

    def sample(self, step: Callable[[], Any], hidden_ns: float) -> float:
        """Return the ns of a step whose launch is hidden for so long."""
        ...

    def host(self, step: Callable[[], Any]) -> float:
        """Return the ns that the host takes to queue a step."""
        ...

    def peak(self, step: Callable[[], Any]) -> int | None:
        """Return the bytes that a step takes beyond what is there before it."""
        ...


class DeviceTimer:
    """Events on a CUDA device; the L2 cache is flushed before each sample."""

    def __init__(self) -> None:
        self._flush = make_flush(torch.cuda, torch.device("cuda", 0))
        self._spin = spin.calibrate(torch.cuda)

    def sample(self, step: Callable[[], Any], hidden_ns: float) -> float:
        """Return the time between events around the step."""
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._flush.queue()
        self._spin.queue(hidden_ns)
        start.record()
        step()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1e6

    def host(self, step: Callable[[], Any]) -> float:
        """Return the wall time until the step is queued."""
        torch.cuda.synchronize()
        begin = time.perf_counter_ns()
        step()
        queued = time.perf_counter_ns() - begin
        torch.cuda.synchronize()
        return queued

    def peak(self, step: Callable[[], Any]) -> int | None:
        """Return the allocator's peak less what was allocated before."""
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before


class HostTimer:
    """The wall clock: a rehearsal without a device."""

    def sample(self, step: Callable[[], Any], hidden_ns: float) -> float:
        """Return the wall time."""
        return self.host(step)

    def host(self, step: Callable[[], Any]) -> float:
        """Return the wall time."""
        begin = time.perf_counter_ns()
        step()
        return float(time.perf_counter_ns() - begin)

    def peak(self, step: Callable[[], Any]) -> int | None:
        """Return nothing: no allocator tells."""
        step()
        return None


def interleave(
    steps: Mapping[str, Callable[[], Any]],
    timer: Timer,
    *,
    rounds: int,
    left_s: Callable[[], float],
) -> dict[str, list[float]]:
    """Return samples by name, a round of all steps after the other while there is time.

    The launch is hidden for twice the host's time, a second at most.
    """
    host = {name: timer.host(step) for name, step in steps.items()}
    samples: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds):
        if number >= 3 and left_s() <= 0:
            break
        for name, step in steps.items():
            samples[name].append(timer.sample(step, 2 * host[name]))
    return samples
