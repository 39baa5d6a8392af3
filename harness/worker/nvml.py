"""What NVIDIA's management library tells of the CUDA device in use, or why it tells nothing.

The device is found by its UUID, which torch reports for the device that CUDA_VISIBLE_DEVICES made
the first, never by an index. The library is optional: without it, without a driver, in a container
that hides it, every reading is None with a reason.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A value, or None and why there is none."""

    value: Any = None
    reason: str | None = None


def uuid(cuda: Any = torch.cuda) -> Reading:
    """Return the UUID of the first visible CUDA device, without a prefix."""
    try:
        value = getattr(cuda.get_device_properties(0), "uuid", None)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        return Reading(reason=f"no CUDA device: {error}")
    if value is None:
        return Reading(reason="this torch does not tell the device's UUID")
    return Reading(value=str(value))


def driver_version(library: Any = None) -> Reading:
    """Return the version of the NVIDIA driver."""
    return _ask(lambda nvml: _text(nvml.nvmlSystemGetDriverVersion()), library)


def used_bytes(library: Any = None, cuda: Any = torch.cuda) -> Reading:
    """Return the bytes in use on the device, by all processes, context and libraries included."""
    name = uuid(cuda)
    if name.value is None:
        return name
    return _ask(lambda nvml: nvml.nvmlDeviceGetMemoryInfo(_handle(nvml, name.value)).used, library)


def _ask(question: Callable[[Any], Any], library: Any) -> Reading:
    """Open the library, ask, close it; a failure is a reading too."""
    nvml = library or _library()
    if nvml is None:
        return Reading(reason="nvidia-ml-py is not installed")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return Reading(reason=f"NVML: {error}")
    try:
        value = question(nvml)
    except nvml.NVMLError as error:
        return Reading(reason=f"NVML: {error}")
    finally:
        nvml.nvmlShutdown()
    return Reading(value=value, reason="NVML does not tell" if value is None else None)


def _handle(nvml: Any, name: str) -> Any:
    """Return the handle of a device or, where there is none of that name, of a MIG instance."""
    try:
        return nvml.nvmlDeviceGetHandleByUUID(f"GPU-{name}")
    except nvml.NVMLError:
        return nvml.nvmlDeviceGetHandleByUUID(f"MIG-{name}")


def _library() -> ModuleType | None:
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None


def _text(value: str | bytes | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
