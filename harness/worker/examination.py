"""What a machine and its settings look like to somebody who wants quiet measurements.

Reads only; changes nothing. What the system does not tell is null. Keys are grouped by topic;
`harness.doctor` says what they mean and what to do.
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import torch

from harness.worker import clocks, nvml
from harness.worker.disturbance import Machine

WATCH_S = 0.5  # for which idle processors and steal are watched
SETTINGS = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "OMP_PROC_BIND", "OMP_PLACES"),
    *("KMP_BLOCKTIME", "GOMP_SPINCOUNT", "MALLOC_MMAP_THRESHOLD_", "PYTORCH_ALLOC_CONF"),
    *("PYTORCH_CUDA_ALLOC_CONF", "CUDA_VISIBLE_DEVICES", "LD_PRELOAD"),
)
_SLOWDOWN_THRESHOLD = 1  # NVML_TEMPERATURE_THRESHOLD_SLOWDOWN


def examine(root: Path = Path("/"), sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """Return everything that `doctor` judges, by topic."""
    return {
        "processor": processor(root),
        "activity": activity(Machine(stat=root / "proc/stat"), sleep),
        "control_group": control_group(root),
        "memory": memory(root),
        "threads": threads(os.environ),
        "clock": clock(root),
        "versions": versions(),
        "gpu": gpu(),
    }


def processor(root: Path) -> dict[str, Any]:
    """Return frequency scaling, turbo and simultaneous multithreading as Linux tells them."""
    cpu = root / "sys/devices/system/cpu"
    scaling = cpu / "cpu0/cpufreq"
    info = _text(root / "proc/cpuinfo") or ""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "virtualised": bool(re.search(r"^flags\s*:.*\bhypervisor\b", info, re.MULTILINE))
        if info
        else None,
        "governor": _text(scaling / "scaling_governor"),
        "min_khz": _number(scaling / "scaling_min_freq"),
        "max_khz": _number(scaling / "scaling_max_freq"),
        "turbo": _turbo(cpu),
        "smt": _flag(cpu / "smt/active"),
    }


def activity(machine: Machine, sleep: Callable[[float], None]) -> dict[str, Any]:
    """Return load, steal and how busy the processors are while this process sleeps."""
    before = machine.counters()
    psutil.cpu_percent()
    sleep(WATCH_S)
    busy, after = psutil.cpu_percent(), machine.counters()
    ticks = after.ticks - before.ticks
    stolen = None
    if after.stolen is not None and before.stolen is not None and ticks > 0:
        stolen = (after.stolen - before.stolen) / ticks
    return {
        "load_average": machine.load_average(),
        "busy_share": busy / 100,
        "steal_share": stolen,
    }


def control_group(root: Path) -> dict[str, Any]:
    """Return the limits of this process's control group, version 2 or 1, and how often they bit."""
    group = root / "sys/fs/cgroup"
    quota, _, period = (_text(group / "cpu.max") or "").partition(" ")
    if not quota:
        quota = _text(group / "cpu/cpu.cfs_quota_us") or ""
        period = _text(group / "cpu/cpu.cfs_period_us") or ""
    stat = _text(group / "cpu.stat") or _text(group / "cpu/cpu.stat") or ""
    throttled = re.search(r"^nr_throttled (\d+)$", stat, re.MULTILINE)
    limit = _number(group / "memory.max")
    if limit is None:
        limit = _number(group / "memory/memory.limit_in_bytes")
    return {
        "cpu_quota": int(quota) / int(period) if quota.isdigit() and period.isdigit() else None,
        "throttled": int(throttled[1]) if throttled else None,
        "memory_limit_bytes": limit if limit is None or limit < 1 << 60 else None,
    }


def memory(root: Path) -> dict[str, Any]:
    """Return what is free, what lies in swap, and how huge pages are given out."""
    machine, swap = psutil.virtual_memory(), psutil.swap_memory()
    chosen = re.search(
        r"\[(\w+)\]", _text(root / "sys/kernel/mm/transparent_hugepage/enabled") or ""
    )
    return {
        "total_bytes": machine.total,
        "available_bytes": machine.available,
        "swap_used_bytes": swap.used,
        "transparent_huge_pages": chosen[1] if chosen else None,
    }


def threads(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return torch's threads and the settings that change how they wait and where they run."""
    return {
        "intra_operation": torch.get_num_threads(),
        "inter_operation": torch.get_num_interop_threads(),
        "settings": {name: environ[name] for name in SETTINGS if name in environ},
    }


def clock(root: Path) -> dict[str, Any]:
    """Return where time comes from and the smallest step of the two clocks that we read."""
    source = root / "sys/devices/system/clocksource/clocksource0/current_clocksource"
    return {
        "source": _text(source),
        "cpu_step_ns": _step(time.process_time_ns),
        "wall_step_ns": _step(time.perf_counter_ns),
    }


def versions() -> dict[str, Any]:
    """Return what is installed."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "driver": nvml.driver_version().value,
        "kernel": platform.release(),
    }


def gpu(library: Any = None, cuda: Any = torch.cuda) -> dict[str, Any]:
    """Return clocks, heat and other processes of the CUDA device in use, or why there is none."""
    with nvml.session(library, cuda) as device, clocks.open_clocks(library, cuda) as reader:
        if device.reason is not None:
            return {"unknown": device.reason}
        now = reader.read()
        others = device.ask("nvmlDeviceGetComputeRunningProcesses", card=True).value
        limit = device.ask(
            "nvmlDeviceGetTemperatureThreshold", _SLOWDOWN_THRESHOLD, card=True
        ).value
        room = None if None in (limit, now.temperature_c) else limit - now.temperature_c
        return {
            "unknown": None,
            "other_processes": None
            if others is None
            else len([p for p in others if p.pid != os.getpid()]),
            "sm_mhz": now.sm_mhz,
            "max_sm_mhz": reader.max_sm_mhz,
            "memory_mhz": now.memory_mhz,
            "temperature_c": now.temperature_c,
            "headroom_c": room,
            "power_w": now.power_w,
            "slowed_by": None if now.words is None else list(now.words),
            "throttled": now.throttled,
            "persistence": device.ask("nvmlDeviceGetPersistenceMode", card=True).value,
        }


def _step(read: Callable[[], int], tries: int = 100) -> int:
    """Return the smallest difference that two readings of a clock show."""
    steps: list[int] = []
    for _ in range(tries):
        begin = now = read()
        while now == begin:
            now = read()
        steps.append(now - begin)
    return min(steps)


def _turbo(cpu: Path) -> bool | None:
    off = _flag(cpu / "intel_pstate/no_turbo")
    return (not off) if off is not None else _flag(cpu / "cpufreq/boost")


def _flag(file: Path) -> bool | None:
    number = _number(file)
    return None if number is None else bool(number)


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text is not None and text.isdigit() else None


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
