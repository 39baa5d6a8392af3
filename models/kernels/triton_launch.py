"""Starts Triton kernels: one program for each tile of each sequence."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor


def tiles_of(length: int, rows: int) -> int:
    """Return how many tiles of so many rows cover a length."""
    return -(-length // rows)


def launch(
    kernel: Any,
    first: Tensor,
    *others: Tensor | float,
    sequences: int,
    length: int,
    rows: int,
    warps: int = 4,
    stages: int = 1,
    **constants: Any,
) -> None:
    """Start a kernel on the device of its first argument; `rows` are its constant ROWS.

    The grid has one axis: the others end at 65535.
    """
    with torch.cuda.device(first.device) if first.is_cuda else nullcontext():
        kernel[(sequences * tiles_of(length, rows),)](
            first, *others, ROWS=rows, num_warps=warps, num_stages=stages, **constants
        )
