"""What must be equal before two results may be compared, and what helps to explain them.

A flat record without paths, user or host names. Its keys fall into three documented groups:

* `INPUT`: what the cell was fed; where it differs nothing may be compared;
* `TIME`: machine, libraries, settings; where it differs times may not be compared, while sizes
  that do not depend on the machine (FLOPs, allocator bytes) may;
* `INFORM`: explains a difference and forbids nothing; these keys begin with `info_`, so that a
  reader on the other side of the hatch needs no list.

What changes from minute to minute (load, free memory) is no part of it: the record would have
another id for every cell.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from harness.schema import Cell, Environment
from harness.worker import nvml

# Variables of the process that change speed or memory; those that are set are recorded.
VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_LAUNCH_BLOCKING",
    "DNNL_MAX_CPU_ISA",
    "GLIBC_TUNABLES",
    "GOMP_SPINCOUNT",
    "KMP_BLOCKTIME",
    "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "MALLOC_TRIM_THRESHOLD_",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "OMP_WAIT_POLICY",
    "ONEDNN_MAX_CPU_ISA",
    "PYTHONMALLOC",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
)
INPUT = ("data_digest",)
TIME = (
    *("architecture", "cores", "cpu", "cpu_capability", "cpu_quota", "memory_gib", "system"),
    *("allocator", "blas", "libc", "onednn", "python", "torch", "virtualised"),
    *("device", "threads", "float32_matmul", "cudnn_tf32", "deterministic", "cudnn_benchmark"),
    *(f"env_{name.lower()}" for name in VARIABLES),
    *("cuda", "cudnn", "device_name", "device_capability", "device_memory_bytes"),
    *("device_multiprocessors", "device_l2_bytes", "driver"),
)
INFORM = (
    *("info_device", "info_driver_unknown", "info_kernel", "info_numpy"),
    *("info_commit", "info_dirty"),
)

_TREE = Path(__file__).resolve().parents[2]


def environment(cell: Cell, corpus_digest: str | None) -> Environment:
    """Return the environment of a cell in this process, after its device was opened.

    Args:
        cell: a CPU cell says nothing about CUDA devices, and does not touch them.
        corpus_digest: fingerprint of the text that the cell reads, if any.
    """
    fields = {"data_digest": corpus_digest, "device": cell.device, "threads": cell.threads}
    fields |= _machine() | _libraries() | _settings() | checkout()
    if cell.device == "cuda":
        fields |= _cuda()
    return Environment(fields=dict(sorted(fields.items())))


def preload() -> None:
    """Find out here what is the same for all cells, so that forks of this process know it."""
    _machine()
    _libraries()
    checkout()


@functools.cache
def checkout(tree: Path = _TREE) -> dict[str, Any]:
    """Return the commit of our source tree and whether measured code differs from it.

    Null where the tree is no checkout or git is missing. Asked once per process.
    """
    unknown: dict[str, Any] = {"info_commit": None, "info_dirty": None}
    if not (tree / ".git").exists():
        return unknown
    command = ("git", "--no-optional-locks", "status", "--porcelain=v2", "--branch")
    try:
        text = subprocess.run(
            (*command, "--", "harness/worker", "models"),
            cwd=tree,
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return unknown
    commit = re.search(r"^# branch\.oid ([0-9a-f]+)$", text, re.MULTILINE)
    dirty = any(not line.startswith("#") for line in text.splitlines())
    return {"info_commit": commit[1] if commit else None, "info_dirty": dirty}


@functools.cache
def _machine() -> dict[str, Any]:
    info = _text(Path("/proc/cpuinfo"))
    model = re.search(r"^model name\s*: (.+)$", info, re.MULTILINE)
    return {
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "cpu": model[1] if model else platform.processor() or None,
        "cpu_quota": cpu_quota(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.system(),
        "virtualised": bool(re.search(r"^flags\s*:.*\bhypervisor\b", info, re.MULTILINE))
        if info
        else None,
        "info_kernel": platform.release(),
    }


def cpu_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return the processors that a cgroup grants; None where it sets no limit."""
    quota, _, period = _text(root / "cpu.max").strip().partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


@functools.cache
def _libraries() -> dict[str, Any]:
    build = torch.__config__.show()
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "libc": " ".join(platform.libc_ver()) or None,
        "blas": _found(r"BLAS_INFO=(\w+)", build),
        "onednn": _found(r"MKL-DNN (v[\d.]+)", build),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "info_numpy": _version("numpy"),
    }


def _settings() -> dict[str, Any]:
    variables: Mapping[str, str] = os.environ
    return {
        # File names only: a preloaded allocator matters, the folder that it lies in does not.
        "allocator": " ".join(Path(p).name for p in variables.get("LD_PRELOAD", "").split())
        or "libc",
        "float32_matmul": torch.get_float32_matmul_precision(),
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        **{f"env_{name.lower()}": variables[name] for name in VARIABLES if name in variables},
    }


def _cuda(cuda: Any = torch.cuda) -> dict[str, Any]:
    properties = cuda.get_device_properties(0)
    name, driver = nvml.uuid(cuda), nvml.driver_version()
    return {
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "device_name": properties.name,
        "device_capability": f"{properties.major}.{properties.minor}",
        "device_memory_bytes": properties.total_memory,
        "device_multiprocessors": properties.multi_processor_count,
        "device_l2_bytes": getattr(properties, "L2_cache_size", None),
        "driver": driver.value,
        "info_driver_unknown": driver.reason,
        # A fingerprint tells two cards of a kind apart and names neither.
        "info_device": name.value and hashlib.sha256(str(name.value).encode()).hexdigest()[:12],
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _found(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match[1] if match else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
