"""Fences around a cell's process: it dies with its parent and cannot eat all memory."""

from __future__ import annotations

import ctypes
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from models.variant import Unsupported

Switch = Callable[[], None]

_PR_SET_PDEATHSIG = 1
_MIN_SLACK, _SLACK_DIVISOR = 16 << 20, 16  # bytes; share of the budget
_SHARE = 0.8  # of the available memory that one cell may take when nobody says otherwise


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies; elsewhere than Linux do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def limit_memory(budget_bytes: int | None) -> int | None:
    """Make an allocation beyond the budget fail, instead of waking the out-of-memory killer.

    The address space is limited to its present size plus the budget. CUDA reserves address space
    by the terabyte: do not call this in a process that will open a CUDA device.

    Args:
        budget_bytes: for this process from now on; None takes 80 % of what is available.

    Returns:
        The budget in force, or None where the system has no such limit (macOS).
    """
    if sys.platform != "linux":
        return None
    budget = budget_bytes if budget_bytes is not None else int(_SHARE * available_bytes())
    present = psutil.Process().memory_info().vms
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = present + budget
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    return budget


class OverBudgetError(MemoryError):
    """A step did what it had to, with more memory than its budget."""

    def __init__(self, budget: int, peak: int, requested: int, part: str) -> None:
        super().__init__(f"needs {peak:,} bytes, more than the budget of {budget:,}, in the {part}")
        self.requested = requested  # bytes of the first request that the budget could not grant


@contextmanager
def budget(size: int | None, device: str, cuda: Any) -> Iterator[None]:
    """Make what is allocated inside fail beyond a budget, which begins with what is there now.

    On a CPU the address space is limited, to the budget and some slack: pages count before they are
    touched, and free pages of the heap do not count again, so this is a fence. Whether the budget
    was kept is for the allocator's peak to tell. On CUDA the caching allocator is limited: what it
    holds already counts, context and libraries do not.

    Args:
        size: in bytes; None changes nothing.
        device: `cpu` or `cuda`.
        cuda: `torch.cuda` or a fake of it.

    Raises:
        Unsupported: the system has no such limit, or the device is smaller than the budget.
    """
    if size is None:
        yield
        return
    begin, end = _on_cuda(size, cuda) if device == "cuda" else _on_cpu(size)
    begin()
    try:
        yield
    finally:
        end()


def _on_cuda(size: int, cuda: Any) -> tuple[Switch, Switch]:
    total = cuda.get_device_properties(0).total_memory
    if size > total:
        raise Unsupported(f"a budget of {size:,} bytes is more than the device's {total:,}")
    limit = cuda.set_per_process_memory_fraction
    return lambda: limit(size / total), lambda: limit(1.0)


def _on_cpu(size: int) -> tuple[Switch, Switch]:
    if sys.platform != "linux":
        raise Unsupported(f"{sys.platform} has no limit of the address space")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = psutil.Process().memory_info().vms + size + max(_MIN_SLACK, size // _SLACK_DIVISOR)
    limit = wanted if soft == resource.RLIM_INFINITY else min(wanted, soft)

    def switch(value: int) -> Switch:
        return lambda: resource.setrlimit(resource.RLIMIT_AS, (value, hard))

    return switch(limit), switch(soft)


def available_bytes(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the memory that is free for new work: of the machine or of the cgroup, if less."""
    free = psutil.virtual_memory().available
    limit = _number(root / "memory.max")
    used = _number(root / "memory.current")
    if limit is None or used is None:
        return free
    return min(free, max(0, limit - used))


def resident_bytes() -> int:
    """Return the most memory that this process, or one that it has waited for, had at a time."""
    unit = 1 if sys.platform == "darwin" else 1024
    usage = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return unit * max(each.ru_maxrss for each in usage)


def oom_kills(vmstat: Path = Path("/proc/vmstat")) -> int:
    """Return how often the kernel's out-of-memory killer has struck since boot; 0 if unknown."""
    try:
        lines = vmstat.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    counts = dict(line.split(" ", 1) for line in lines)
    return int(counts.get("oom_kill", 0))


def _number(file: Path) -> int | None:
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # "max" is no limit
