"""The kind `Metric`: one instrument, with a pass of its own over a fresh workload."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch

from harness.schema import Job, Measurement
from harness.worker import energy_meter, nvml, workload
from harness.worker.clock import Clock
from harness.worker.clocks import Clocks, open_clocks
from harness.worker.energy_meter import Meter
from harness.worker.memory import ProcessMemory
from harness.worker.nvml import Reading
from harness.worker.turns import Alone, Turns
from harness.worker.workload import Workload
from models.catalog import Catalog

METRICS = Catalog("harness.worker.metrics", "METRIC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A job and the instruments to measure it with; tests replace the instruments."""

    job: Job
    build: Callable[[Job], Workload] = workload.build  # a fresh workload each time
    clock: Clock = field(default_factory=Clock)
    process: ProcessMemory = field(default_factory=ProcessMemory)
    cuda: Any = torch.cuda  # events, synchronisation and allocator statistics
    clocks: Callable[[], AbstractContextManager[Clocks]] = open_clocks  # of the CUDA device
    device_used: Callable[[], Reading] = nvml.used_bytes  # bytes in use on the whole CUDA device
    process_used: Callable[[], Reading] = nvml.process_bytes  # those of this process, if told
    # Ways to read the energy of a kind of device, the best first.
    meters: Callable[[str, Clock], AbstractContextManager[Sequence[Meter]]] = energy_meter.meters
    sleep: Callable[[float], None] = time.sleep
    turns: Turns = field(default_factory=Alone)  # when this process may time
    tell: Callable[[str], None] = lambda _: None  # how far a long pass is, in words

    def fresh(self) -> Workload:
        """Return a workload that nothing has stepped yet."""
        return self.build(self.job)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What one instrument found."""

    measurements: tuple[Measurement, ...]
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])  # flat, of JSON's types


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One instrument; the last line of a file in `metrics/` makes one."""

    collect: Callable[[Bench], Findings]
    headline: str  # the measurement that tables show and gates judge
    pristine: bool = False  # must run in a process whose heap nothing else has used
    repeats: bool = False  # each of the protocol's launches takes it
    # Taken on CUDA before anything else, in a process that has compiled nothing yet
    opening: Callable[[Bench], Findings] | None = None
