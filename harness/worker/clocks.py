"""The state of a CUDA device while it is measured: its clocks, heat, power and what slows it.

Read through nvidia-ml-py, never set: locking clocks needs rights that shared machines withhold,
and would measure another device than users have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from harness.worker import nvml
from harness.worker.nvml import Session

# Bits of nvmlClocksEventReasons (nvml.h), which drivers before R535 call throttle reasons.
REASONS: Mapping[int, str] = {
    0x001: "gpu_idle",
    0x002: "applications_clocks_setting",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}
POWER_CAP = 0x004  # ordinary under a heavy matrix product: told, and no reason to measure again
SLOWDOWN = 0x008 | 0x020 | 0x040 | 0x080
THROTTLED_BELOW = 0.75  # of the highest SM clock, where no reasons are told (nvbench's share)

# NVML's numbers of what is asked for (nvml.h); the library need not be there to know them.
_CLOCK_SM, _CLOCK_MEMORY, _SENSOR_GPU = 1, 2, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockState:
    """A device at one moment; None where the system does not tell."""

    sm_mhz: int | None = None
    memory_mhz: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    reasons: int | None = None  # bits of REASONS
    throttled: bool = False

    @property
    def power_capped(self) -> bool:
        """Whether the power limit keeps the clocks below their highest."""
        return bool((self.reasons or 0) & POWER_CAP)

    @property
    def words(self) -> tuple[str, ...] | None:
        """The reasons by name, a bit that we do not know as a number; None where none are told."""
        if self.reasons is None:
            return None
        bits = (1 << n for n in range(self.reasons.bit_length()) if self.reasons >> n & 1)
        return tuple(REASONS.get(bit, hex(bit)) for bit in bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Reads the state of the device in use."""

    session: Session
    max_sm_mhz: int | None = None

    def read(self) -> ClockState:
        """Return the state now; takes some tenths of a millisecond on the host."""
        ask = self._ask
        reasons = self._reasons()
        sm_mhz = ask("nvmlDeviceGetClockInfo", _CLOCK_SM)
        power_mw = ask("nvmlDeviceGetPowerUsage")
        return ClockState(
            sm_mhz=sm_mhz,
            memory_mhz=ask("nvmlDeviceGetClockInfo", _CLOCK_MEMORY),
            temperature_c=ask("nvmlDeviceGetTemperature", _SENSOR_GPU),
            power_w=None if power_mw is None else power_mw / 1000,
            reasons=reasons,
            throttled=self._throttled(reasons, sm_mhz),
        )

    @property
    def unknown(self) -> str | None:
        """Why the clock of the device cannot be read; None where it can."""
        return self.session.ask("nvmlDeviceGetClockInfo", _CLOCK_SM, card=True).reason

    def _ask(self, function: str, *arguments: Any) -> Any:
        return self.session.ask(function, *arguments, card=True).value

    def _reasons(self) -> int | None:
        """Ask under the present name, else under the one that older drivers and libraries know."""
        found = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if found is None:
            found = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return found

    def _throttled(self, reasons: int | None, sm_mhz: int | None) -> bool:
        if reasons is not None:
            return bool(reasons & SLOWDOWN)
        if sm_mhz is None or self.max_sm_mhz is None:
            return False
        return sm_mhz < THROTTLED_BELOW * self.max_sm_mhz


@contextmanager
def open_clocks(library: Any = None, cuda: Any = torch.cuda) -> Iterator[Clocks]:
    """Keep the management library open on the device in use; every reading may be None."""
    with nvml.session(library, cuda) as session:
        highest = session.ask("nvmlDeviceGetMaxClockInfo", _CLOCK_SM, card=True).value
        yield Clocks(session=session, max_sm_mhz=highest)


Read = Callable[[], ClockState]
