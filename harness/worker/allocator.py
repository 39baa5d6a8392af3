"""What passes through torch's allocators: every block with its birth and death, and statistics.

`recorded` listens to the events that the allocators send to the profiler. They are exact and, on
one thread, the same in every run; what a thread of an operation allocates by itself, and what
libraries take from malloc, is not among them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

SNAPSHOT = "out_of_memory.pickle"  # for pytorch.org/memory_viz
_PREFIX = "account:"  # of the marks, among the names of operations
_HISTORY = 100_000  # allocator events that a snapshot keeps
STATISTICS: Mapping[str, str] = {  # our name -> key of torch.cuda.memory_stats
    "allocated": "allocated_bytes.all.peak",
    "reserved": "reserved_bytes.all.peak",
    "requested": "requested_bytes.all.peak",
    "inactive_split": "inactive_split_bytes.all.peak",
    "alloc_retries": "num_alloc_retries",
    "ooms": "num_ooms",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A block that was handed out (positive) or given back (negative)."""

    at_ns: int
    pointer: int
    size: int
    reserved: int  # what the allocator holds of the device after it; 0 on a CPU


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A note on the block that then lies at an address; address 0 is a note on the moment."""

    at_ns: int
    name: str
    pointer: int


@dataclass(slots=True)
class Tape:
    """What was recorded, complete once `recorded` has ended."""

    events: list[Change | Mark] = field(default_factory=list[Change | Mark])

    def mark(self, name: str, tensors: Iterable[Tensor] = ()) -> None:
        """Note what the storages of these tensors are; without tensors, that something begins."""
        found = {_pointer(tensor) for tensor in tensors} - {0}
        for pointer in found if tensors else [0]:
            with record_function(f"{_PREFIX}{name}:{pointer}"):
                pass


@contextmanager
def recorded(device: str) -> Iterator[Tape]:
    """Record the events of one kind of device, `cpu` or `cuda`, in the order of time."""
    tape = Tape()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        yield tape
    # The tree is what torch's own memory profiler reads; it has no public door.
    results: Any = profiler.profiler
    left = list(results.kineto_results.experimental_event_tree())
    while left:
        event = left.pop()
        left.extend(event.children)
        found = _event(event, device)
        if found is not None:
            tape.events.append(found)
    tape.events.sort(key=lambda found: found.at_ns)


def _event(event: Any, device: str) -> Change | Mark | None:
    if event.tag.name == "Allocation":
        block = event.extra_fields
        if block.device.type != device:
            return None
        return Change(
            at_ns=event.start_time_ns,
            pointer=block.ptr,
            size=block.alloc_size,
            reserved=block.total_reserved,
        )
    if event.name.startswith(_PREFIX):
        _, name, pointer = event.name.split(":")
        return Mark(at_ns=event.start_time_ns, name=name, pointer=int(pointer))
    return None


def _pointer(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else 0


def statistics(cuda: Any = torch.cuda) -> dict[str, int]:
    """Return the peaks and counts that the CUDA allocator keeps, without those it lacks."""
    told = cuda.memory_stats()
    return {name: int(told[key]) for name, key in STATISTICS.items() if told.get(key) is not None}


def backend(cuda: Any = torch.cuda) -> str | None:
    """Return the name of the CUDA allocator, `native` or `cudaMallocAsync`, where torch tells."""
    ask = getattr(cuda, "get_allocator_backend", None)
    return None if ask is None else str(ask())


@contextmanager
def snapshot_on_failure(
    folder: str | None, cuda: Any = torch.cuda, *, history: bool = False
) -> Iterator[None]:
    """Leave a snapshot of the CUDA allocator in a folder when memory runs out inside.

    It uses a private interface of torch; where that is missing or fails there is no snapshot, and
    the failure goes on unchanged.

    Args:
        folder: made on demand; None keeps nothing.
        cuda: `torch.cuda` or a fake of it.
        history: record who allocated what. This slows down every allocation.
    """
    if folder is None:
        yield
        return
    record = _private(cuda, "_record_memory_history") if history else None
    if record is not None:
        record(max_entries=_HISTORY)
    try:
        yield
    except torch.OutOfMemoryError:
        _dump(Path(folder), cuda)
        raise
    finally:
        if record is not None:
            record(enabled=None)


def _dump(folder: Path, cuda: Any) -> None:
    dump = _private(cuda, "_dump_snapshot")
    if dump is not None:
        with contextlib.suppress(OSError, RuntimeError):
            folder.mkdir(parents=True, exist_ok=True)
            dump(str(folder / SNAPSHOT))


def _private(cuda: Any, name: str) -> Any:
    return getattr(getattr(cuda, "memory", None), name, None)
