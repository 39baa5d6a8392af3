"""What a CUDA device is timed with; tests replace each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.worker.clock import Clock
from harness.worker.clocks import ClockState


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruments:
    """Clocks of the host, events of the device, its state, and the compilers' counter."""

    clock: Clock
    cuda: Any  # events, synchronisation, streams and graphs; `torch.cuda`
    state: Callable[[], ClockState]  # of the device now
    compiles: Callable[[], int]  # rises with every compilation
