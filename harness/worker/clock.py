"""The clocks that time is read from, as an argument: tests pass clocks of their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Two clocks of a process, in integer nanoseconds from any origin, and a way to wait.

    They are bound when a `Clock` is made, before a variant is imported: code that is measured
    cannot replace them.
    """

    cpu_ns: Callable[[], int] = time.process_time_ns  # of all threads of this process
    wall_ns: Callable[[], int] = time.perf_counter_ns
    sleep_s: Callable[[float], None] = time.sleep
