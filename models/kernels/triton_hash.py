"""Triton kernel: random-rotation hashing whose rotated vectors never reach the memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.kernels.lsh_hash import bucket_dtype
from models.kernels.triton_launch import launch

TOKENS = 64  # of one program
COLUMNS = 64  # rotated coordinates at a time, at most


def hash_tokens(
    x: Float[Tensor, "b h t d"],
    rotations: Float[Tensor, "h d r f"],
    factors: Sequence[int],
    mask: Bool[Tensor, "b t"] | None = None,
) -> Int[Tensor, "b h r t"]:
    """Return the bucket of each vector in each round; padding has a bucket behind all others.

    As `hash_vectors`: `argmax [x R; -x R]` per factor, in float32 whatever x is, so that only a
    vector that lies between two buckets up to rounding can get another one. A token is read once
    for all rounds. d is a power of two, at least 16.
    """
    b, h, n, d = x.shape
    rounds, columns = rotations.shape[2:]
    x = x.detach() if x.stride(3) == 1 else x.detach().contiguous()
    x = x.float() if x.dtype == torch.float64 else x
    bucket = torch.empty(b, h, rounds, n, dtype=bucket_dtype(factors), device=x.device)
    launch(
        lsh_hash_kernel,
        x,
        rotations.to(x.device, torch.float32).contiguous(),
        x if mask is None else mask.contiguous(),
        bucket,
        *(n, h, *x.stride()[:3], columns, math.prod(factors)),
        ROUNDS=rounds,
        HALVES=tuple(factor // 2 for factor in factors),
        sequences=b * h,
        length=n,
        rows=TOKENS,
        D=d,
        COLUMNS=_columns(max(factors) // 2),
        MASKED=mask is not None,
    )
    return bucket


def _columns(most: int) -> int:
    return min(COLUMNS, max(16, 1 << (most - 1).bit_length()))  # a product takes 16 at least


@no_type_check
@triton.jit
def lsh_hash_kernel(
    x: tl.tensor,
    rotations: tl.tensor,
    mask: tl.tensor,
    bucket: tl.tensor,
    n: tl.tensor,
    heads: tl.tensor,
    x_batch: tl.tensor,
    x_head: tl.tensor,
    x_row: tl.tensor,
    columns: tl.tensor,
    padding: tl.tensor,
    ROUNDS: tl.constexpr,
    HALVES: tl.constexpr,
    D: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    MASKED: tl.constexpr,
) -> None:
    """Hash ROWS tokens in all rounds; HALVES are half the factors of the bucket count."""
    tiles = tl.cdiv(n, ROWS)
    tile, head = tl.program_id(0) % tiles, (tl.program_id(0) // tiles).to(tl.int64)
    b, h = head // heads, head % heads
    t = tile * ROWS + tl.arange(0, ROWS)
    dims, lanes = tl.arange(0, D), tl.arange(0, COLUMNS)
    rows = x + b * x_batch + h * x_head + t.to(tl.int64)[:, None] * x_row
    vectors = tl.load(rows + dims[None, :], mask=(t < n)[:, None], other=0.0).to(tl.float32)
    shown = t < n
    if MASKED:
        shown = tl.load(mask + b * n + t, mask=t < n, other=0) != 0
    rotation = rotations + h * D * ROUNDS * columns
    for r in range(ROUNDS):
        digits = tl.zeros([ROWS], tl.int32)
        start = 0
        weight = 1
        for f in tl.static_range(len(HALVES)):
            best = tl.full([ROWS], -float("inf"), tl.float32)
            digit = tl.zeros([ROWS], tl.int32)
            for low in range(0, HALVES[f], COLUMNS):
                inside = (low + lanes < HALVES[f])[None, :]
                at = dims[:, None] * ROUNDS * columns + r * columns + start + low + lanes[None, :]
                axes = tl.load(rotation + at, mask=inside, other=0.0)
                y = tl.dot(vectors, axes, input_precision="tf32x3")
                high, at_high = tl.max(tl.where(inside, y, -float("inf")), 1, return_indices=True)
                deep, at_deep = tl.max(tl.where(inside, -y, -float("inf")), 1, return_indices=True)
                found = tl.where(high >= deep, low + at_high, HALVES[f] + low + at_deep)
                value = tl.maximum(high, deep)
                # Of equals the first counts, over the positive coordinates and then the negative.
                better = (value > best) | ((value == best) & (found < digit))
                digit = tl.where(better, found, digit)
                best = tl.maximum(best, value)
            digits += weight * digit
            start += HALVES[f]
            weight *= 2 * HALVES[f]
        digits = tl.where(shown, digits, padding)
        to = bucket + (head * ROUNDS + r) * n + t
        tl.store(to, digits.to(bucket.dtype.element_ty), mask=t < n)
