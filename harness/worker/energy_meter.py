"""What can be read of the energy that a device takes: counters, or power added up over time.

On CUDA NVML's counter of total energy (Volta and later, millijoules since the driver was loaded),
else its power, sampled and integrated; on a CPU the RAPL counters of the packages, where the kernel
lets them be read. The counters move in steps of 10 to 100 ms, so a window lasts seconds. Of a MIG
instance only the whole device's energy can be read: other instances must be idle.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from harness.worker import nvml
from harness.worker.clock import Clock
from harness.worker.nvml import Session

POWERCAP = Path("/sys/class/powercap")
INTERVAL_S = 0.02  # between two samples of power
_NS = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """What was taken between the two ends of a window, or None and why it is not known."""

    joules: float | None = None
    reason: str | None = None


class Meter(Protocol):
    """One way to read energy."""

    @property
    def method(self) -> str:
        """The instrument, in words."""
        ...

    def over(self, work: Callable[[], None]) -> Energy:
        """Do work and return what the device took meanwhile."""
        ...


@contextmanager
def meters(
    device: str, clock: Clock, library: Any = None, powercap: Path = POWERCAP
) -> Iterator[Sequence[Meter]]:
    """Give the ways that there are for a kind of device, the best first."""
    if device == "cuda":
        with nvml.session(library) as card:
            yield (CardCounter(card=card), CardPower(card=card, clock=clock))
    else:
        yield (PackageCounters(powercap=powercap),)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardCounter:
    """NVML's counter of total energy."""

    card: Session
    method: str = "NVML total energy counter"

    def over(self, work: Callable[[], None]) -> Energy:
        """Do work and return what the device took meanwhile."""
        ask = self.card.ask
        before = ask("nvmlDeviceGetTotalEnergyConsumption", card=True)
        if before.value is None:
            return Energy(reason=before.reason)
        work()
        after = ask("nvmlDeviceGetTotalEnergyConsumption", card=True)
        if after.value is None:
            return Energy(reason=after.reason)
        return _moved(after.value - before.value, 1e3, "NVML's energy counter")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPower:
    """NVML's power, sampled by a thread and added up by trapezoids."""

    card: Session
    clock: Clock
    interval_s: float = INTERVAL_S
    method: str = "NVML power, integrated"

    def over(self, work: Callable[[], None]) -> Energy:
        """Do work and return what the device took meanwhile."""
        samples, first = [], self._sample()
        if isinstance(first, str):
            return Energy(reason=first)
        samples.append(first)
        done = threading.Event()

        def watch() -> None:
            while not done.wait(self.interval_s):
                sample = self._sample()
                if not isinstance(sample, str):
                    samples.append(sample)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            work()
        finally:
            done.set()
            thread.join()
        last = self._sample()
        if isinstance(last, str):
            return Energy(reason=last)
        return Energy(joules=integral([*samples, last]))

    def _sample(self) -> tuple[int, float] | str:
        """Return nanoseconds and watts, or why there are none."""
        reading = self.card.ask("nvmlDeviceGetPowerUsage", card=True)
        if reading.value is None:
            return reading.reason or "NVML does not tell"
        return self.clock.wall_ns(), reading.value / 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageCounters:
    """RAPL counters of the processor's packages, memory and other machines' work not told apart."""

    powercap: Path = POWERCAP
    method: str = field(default="RAPL, all processor packages")

    def over(self, work: Callable[[], None]) -> Energy:
        """Do work and return what the packages took meanwhile."""
        zones = [zone for zone in sorted(self.powercap.glob("intel-rapl:*")) if _is_package(zone)]
        if not zones:
            return Energy(reason=f"no RAPL package among {self.powercap.name}'s zones")
        try:
            before = [_read(zone / "energy_uj") for zone in zones]
            work()
            after = [_read(zone / "energy_uj") for zone in zones]
            ranges = [_read(zone / "max_energy_range_uj") for zone in zones]
        except (OSError, ValueError) as error:
            return Energy(reason=f"RAPL: {type(error).__name__}: {_said(error)}")
        # A counter that ran over its range began again at zero.
        taken = zip(before, after, ranges, strict=True)
        total = sum(end - begin + (size if end < begin else 0) for begin, end, size in taken)
        return _moved(total, 1e6, "RAPL's energy counter")


def integral(samples: Sequence[tuple[int, float]]) -> float:
    """Return the joules of samples of (nanoseconds, watts), by trapezoids."""
    return sum((p + q) / 2 * (t - s) / _NS for (s, p), (t, q) in pairwise(samples))


def _moved(difference: float, per_joule: float, name: str) -> Energy:
    if difference < 0:
        return Energy(reason=f"{name} went backwards: it was reset within the window")
    if difference == 0:
        return Energy(reason=f"{name} did not move")
    return Energy(joules=difference / per_joule)


def _is_package(zone: Path) -> bool:
    """Say whether a zone is a package; parts of one and the whole platform would count twice."""
    try:
        return (zone / "name").read_text(encoding="ascii").startswith("package")
    except OSError:
        return False


def _read(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))


def _said(error: Exception) -> str:
    return (error.strerror or "") if isinstance(error, OSError) else str(error)
