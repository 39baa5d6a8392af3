"""Fences around a cell's process: it dies with its parent and cannot eat all memory."""

from __future__ import annotations

import ctypes
import resource
import signal
import sys
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1
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


def available_bytes(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the memory that is free for new work: of the machine or of the cgroup, if less."""
    free = psutil.virtual_memory().available
    limit = _number(root / "memory.max")
    used = _number(root / "memory.current")
    if limit is None or used is None:
        return free
    return min(free, max(0, limit - used))


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
