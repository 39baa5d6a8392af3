"""What else happened on the machine while something was timed: steal, load, context switches."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Counters of the machine and of this process, read at one moment."""

    stolen: int | None  # ticks that the hypervisor took, all processors; None: not told
    ticks: int  # ticks of all processors, whatever they did
    waits: int  # times that this process gave up its processor
    preemptions: int  # times that it was taken from it


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where the counters are read; tests put files of their own in place."""

    stat: Path = Path("/proc/stat")
    load: Callable[[], tuple[float, float, float]] = os.getloadavg

    def counters(self) -> Counters:
        """Return the counters of now."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        stolen, ticks = self._ticks()
        return Counters(
            stolen=stolen, ticks=ticks, waits=usage.ru_nvcsw, preemptions=usage.ru_nivcsw
        )

    def load_average(self) -> float | None:
        """Return the load of the last minute, in processes; None where nobody counts it."""
        try:
            return self.load()[0]
        except OSError:
            return None

    def _ticks(self) -> tuple[int | None, int]:
        try:
            line = self.stat.read_text(encoding="ascii").partition("\n")[0]
        except OSError:
            return None, 0
        # user nice system idle iowait irq softirq steal; guest time is part of user (proc(5))
        ticks = [int(part) for part in line.split()[1:9]]
        return (ticks[7] if len(ticks) == 8 else None), sum(ticks)


def disturbance(
    before: Counters,
    after: Counters,
    load: float | None,
    cpu: Sequence[int],
    wall: Sequence[int],
) -> dict[str, Any]:
    """Return what a reader needs to trust or distrust times, as lists with one entry a launch.

    `wall_over_cpu` is mean wall time over mean process CPU time of the samples: with one thread
    well above 1 where others had the processor.
    """
    ticks = after.ticks - before.ticks
    known = before.stolen is not None and after.stolen is not None and ticks > 0
    stolen = (after.stolen or 0) - (before.stolen or 0)
    return {
        "wall_over_cpu": [round(sum(wall) / sum(cpu), 4) if sum(cpu) else None],
        "steal_share": [round(stolen / ticks, 5) if known else None],
        "load_average": [load],
        "waits": [after.waits - before.waits],
        "preemptions": [after.preemptions - before.preemptions],
    }
