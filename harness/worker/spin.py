"""A kernel that keeps the device busy while the host queues what is to be timed.

Without it a short step waits, between its start event and its kernels, for Python: the time
between the events is then the host's. `torch.cuda._sleep` is not public; where it is missing or
refuses, nothing is hidden and the cell says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PROBE_CYCLES = 2_000_000  # about a millisecond
LONGEST_NS = 1_000_000_000
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Spin:
    """Occupies the device for a while; does nothing where it cannot, and says why."""

    sleep: Callable[[int], object] | None = None
    cycles_per_ns: float = 0.0
    reason: str | None = None

    def queue(self, duration_ns: float) -> None:
        """Queue about so many nanoseconds of waiting on the current stream."""
        if self.sleep is not None:
            self.sleep(max(1, round(min(duration_ns, LONGEST_NS) * self.cycles_per_ns)))


def calibrate(cuda: Any) -> Spin:
    """Return a spin that knows how many cycles a nanosecond has now.

    A clock that changes later makes it wait for longer or shorter, which the events show.
    """
    sleep = getattr(cuda, "_sleep", None)
    if sleep is None:
        return Spin(reason="this torch has no torch.cuda._sleep")
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    try:
        sleep(PROBE_CYCLES)  # loads the kernel
        cuda.synchronize()
        start.record()
        sleep(PROBE_CYCLES)
        end.record()
        cuda.synchronize()
    except RuntimeError as error:
        return Spin(reason=f"torch.cuda._sleep: {error}")
    elapsed_ns = start.elapsed_time(end) * _NS_PER_MS
    if elapsed_ns <= 0:
        return Spin(reason="torch.cuda._sleep does not wait here")
    return Spin(sleep=sleep, cycles_per_ns=PROBE_CYCLES / elapsed_ns)
