"""Memory of this process as the kernel counts it, and a heap that gives back what is freed.

glibc raises its mmap threshold as blocks are freed (up to 32 MiB) and then keeps them: the resident
size stays high, a reversible network reads like a plain one. `returned_heap` fixes the thresholds
so that large blocks are mapped and unmapped one by one for as long as memory is weighed.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_GLIBC_DEFAULT = 128 << 10  # of all three, before they adapt themselves
_INT_MAX = 2**31 - 1
_SLACK = 2 << 20  # by which the kernel's counters may lag
_MAPPED_FROM = 128 << 10  # blocks from this size on are mapped one by one while memory is weighed


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMemory:
    """Resident memory of this process, in bytes."""

    proc: Path = Path("/proc/self")

    def resident(self) -> int | None:
        """Return what is resident now; None where the kernel does not tell."""
        return self._status("VmRSS")

    def peak(self) -> int | None:
        """Return the high-water mark since the last reset; None where there is none."""
        return self._status("VmHWM")

    def address_space(self) -> int | None:
        """Return the bytes of address space in use; None where the kernel does not tell."""
        return self._status("VmSize")

    def address_peak(self) -> int | None:
        """Return the most address space since the process began; None where unknown."""
        return self._status("VmPeak")

    def reset_peak(self) -> bool:
        """Lower the high-water mark to the present; False where the system does not."""
        try:
            (self.proc / "clear_refs").write_text("5", encoding="ascii")
        except OSError:
            return False
        peak, resident = self.peak(), self.resident()
        return peak is not None and resident is not None and peak - resident <= _SLACK

    def lifetime_peak(self) -> int:
        """Return the largest resident size since the process began (getrusage)."""
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def _status(self, key: str) -> int | None:
        try:
            text = (self.proc / "status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return None
        found = re.search(rf"^{key}:\s*(\d+) kB", text, re.MULTILINE)
        return int(found[1]) * 1024 if found else None


@contextmanager
def returned_heap() -> Iterator[bool]:
    """Make freed blocks go back to the system at once; yields False where malloc cannot be told.

    Afterwards the thresholds are those of the environment (`MALLOC_MMAP_THRESHOLD_` and its kin)
    or glibc's initial ones, which then no longer adapt.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        yield False
        return
    libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM)
    libc.mallopt(_M_TRIM_THRESHOLD, 0)
    libc.mallopt(_M_TOP_PAD, 0)
    trim()  # what lies ready at the heap's top would be used before anything is mapped
    try:
        yield True
    finally:
        for option, variable in (
            (_M_MMAP_THRESHOLD, "MALLOC_MMAP_THRESHOLD_"),
            (_M_TRIM_THRESHOLD, "MALLOC_TRIM_THRESHOLD_"),
            (_M_TOP_PAD, "MALLOC_TOP_PAD_"),
        ):
            libc.mallopt(option, _from_environment(variable))


def trim() -> None:
    """Give all free pages of the heap back to the system, where malloc can."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def _from_environment(variable: str) -> int:
    """Return a size of the environment as `mallopt` takes it: a C int, with a clamp above."""
    text = os.environ.get(variable, "")
    return min(int(text), _INT_MAX) if text.isdigit() else _GLIBC_DEFAULT
