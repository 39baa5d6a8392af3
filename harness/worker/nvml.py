"""What NVIDIA's management library tells of the CUDA device in use, or why it tells nothing.

The device is found by its UUID, which torch reports for the device that CUDA_VISIBLE_DEVICES made
the first, never by an index. The library is optional: without it, without a driver, in a container
that hides it, every reading is None with a reason.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A value, or None and why there is none."""

    value: Any = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The opened library and the device in use, or why there is none to ask."""

    library: Any = None
    handle: Any = None  # of what torch uses: a device or a MIG instance of one
    card: Any = None  # of the whole device, which alone has clocks, sensors and a power supply
    reason: str | None = None

    def ask(self, function: str, *arguments: Any, card: bool = False) -> Reading:
        """Call a function of the library on the device in use.

        Args:
            function: its name, such as `nvmlDeviceGetMemoryInfo`; the handle is its first argument.
            arguments: those that follow.
            card: ask the whole device also where a MIG instance of it is in use.

        Returns:
            What the function returns; a reading without value where it fails, returns None, or is
            missing in this version of the library.
        """
        if self.reason is not None:
            return Reading(reason=self.reason)
        call = getattr(self.library, function, None)
        if call is None:
            return Reading(reason=f"this nvidia-ml-py has no {function}")
        try:
            value = call(self.card if card else self.handle, *arguments)
        except self.library.NVMLError as error:
            return Reading(reason=f"NVML: {error}")
        return Reading(value=value, reason="NVML does not tell" if value is None else None)


def uuid(cuda: Any = torch.cuda) -> Reading:
    """Return the UUID of the first visible CUDA device, without a prefix."""
    try:
        value = getattr(cuda.get_device_properties(0), "uuid", None)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        return Reading(reason=f"no CUDA device: {error}")
    if value is None:
        return Reading(reason="this torch does not tell the device's UUID")
    return Reading(value=str(value).removeprefix("GPU-").removeprefix("MIG-"))


def driver_version(library: Any = None) -> Reading:
    """Return the version of the NVIDIA driver."""
    with _opened(library) as opened:
        if isinstance(opened, Reading):
            return opened
        try:
            value = _text(opened.nvmlSystemGetDriverVersion())
        except opened.NVMLError as error:
            return Reading(reason=f"NVML: {error}")
    return Reading(value=value, reason="NVML does not tell" if value is None else None)


def used_bytes(library: Any = None, cuda: Any = torch.cuda) -> Reading:
    """Return the bytes in use on the device, by all processes, context and libraries included."""
    with session(library, cuda) as device:
        found = device.ask("nvmlDeviceGetMemoryInfo")
    if found.value is None:
        return found
    used = found.value.used
    return Reading(value=used, reason="NVML does not tell" if used is None else None)


def process_bytes(library: Any = None, cuda: Any = torch.cuda) -> Reading:
    """Return the bytes of the device that this process uses, its context included.

    A container has process ids of its own, under which NVML does not know its processes.
    """
    with session(library, cuda) as device:
        found = device.ask("nvmlDeviceGetComputeRunningProcesses")
    if found.value is None:
        return found
    own = [process for process in found.value if process.pid == os.getpid()]
    if not own:
        return Reading(reason="NVML knows no process of this id, as in a container")
    used = own[0].usedGpuMemory
    return Reading(value=used, reason="NVML does not tell" if used is None else None)


@contextmanager
def session(
    library: Any = None, cuda: Any = torch.cuda, environ: Mapping[str, str] | None = None
) -> Iterator[Session]:
    """Keep the library open on the device in use: opening it anew for each reading is slow.

    Args:
        library: `pynvml` or a fake of it; None imports it.
        cuda: tells which device is in use; `torch.cuda`.
        environ: where CUDA_VISIBLE_DEVICES stands; None is the process's own.
    """
    names = _names(cuda, os.environ if environ is None else environ)
    if isinstance(names, Reading):
        yield Session(reason=names.reason)
        return
    with _opened(library) as opened:
        yield Session(reason=opened.reason) if isinstance(opened, Reading) else _find(opened, names)


def _names(cuda: Any, environ: Mapping[str, str]) -> list[str] | Reading:
    """Return the names under which NVML may know the first visible device, the surest first.

    A UUID that CUDA_VISIBLE_DEVICES gives as first is the device itself; for a MIG instance it is
    the surest name, as torch may tell the UUID of the whole device.
    """
    first = environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip()
    told = uuid(cuda)
    names = [first] if first.startswith("MIG-") else []
    if told.value is not None:
        names += [f"GPU-{told.value}", f"MIG-{told.value}"]
    elif first.startswith("GPU-"):
        names.append(first)
    return names or told


def _find(nvml: Any, names: list[str]) -> Session:
    reason = ""
    for name in names:
        try:
            handle = nvml.nvmlDeviceGetHandleByUUID(name)
            card = handle
            if name.startswith("MIG-"):
                card = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
        except nvml.NVMLError as error:
            reason = f"NVML: {error}"
        else:
            return Session(library=nvml, handle=handle, card=card)
    return Session(reason=reason)


@contextmanager
def _opened(library: Any) -> Iterator[Any]:
    """Yield the opened library, or a reading that says why it cannot be opened."""
    nvml = library or _library()
    if nvml is None:
        yield Reading(reason="nvidia-ml-py is not installed")
        return
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        yield Reading(reason=f"NVML: {error}")
        return
    try:
        yield nvml
    finally:
        nvml.nvmlShutdown()


def _library() -> ModuleType | None:
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None


def _text(value: str | bytes | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
