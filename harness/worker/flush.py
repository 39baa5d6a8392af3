"""Emptying a CUDA device's L2 cache of what a step left in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

MARGIN = 2  # a write of so many times the cache leaves nothing else in it
UNKNOWN_BYTES = 256 << 20  # larger than any cache that we know of


@dataclass(frozen=True, slots=True, kw_only=True)
class Flush:
    """A write that is queued before a step."""

    queue: Callable[[], object]
    size: int  # bytes that it writes
    cache: int | None  # bytes of the L2 cache; None where torch does not tell


def make_flush(cuda: Any, device: torch.device) -> Flush:
    """Allocate once what each flush overwrites: twice the real size of the device's cache.

    Raises:
        torch.OutOfMemoryError: the device has no room for it.
    """
    cache: int | None = getattr(cuda.get_device_properties(0), "L2_cache_size", None) or None
    size = MARGIN * cache if cache else UNKNOWN_BYTES
    return Flush(
        queue=torch.empty(size, dtype=torch.uint8, device=device).zero_, size=size, cache=cache
    )
