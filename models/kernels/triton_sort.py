"""Triton kernels: a stable counting sort of buckets that gives the order and its inverse at once.

Buckets are sorted digit by digit, the low ones first, at most 256 values a digit. For each digit:
count its values in tiles of tokens, add up the counts by (value, tile), and put each token behind
those of smaller values and of earlier tiles. All is integer: the same input gives the same bits.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Int
from torch import Tensor

from models.kernels.triton_launch import launch, tiles_of

TILE = 1024  # tokens of one program
DIGIT_BITS = 8


def counting_sort(
    bucket: Int[Tensor, "b h r t"], buckets: int, *, tile: int = TILE
) -> tuple[Int[Tensor, "b h r t"], Int[Tensor, "b h r t"]]:
    """Return the order by (bucket, position) and its inverse, as int32; buckets are < `buckets`.

    As `torch.sort(bucket, stable=True)`, without keys of 64 bits, without a second sort. A program
    takes `tile` tokens.
    """
    bits = max(1, (buckets - 1).bit_length())
    passes = -(-bits // DIGIT_BITS)
    width = -(-bits // passes)
    order, place = (torch.empty_like(bucket, dtype=torch.int32) for _ in range(2))
    source = torch.empty_like(order) if passes > 1 else order
    if passes % 2 == 0:
        order, source = source, order
    bucket = bucket.contiguous()
    for step in range(passes):
        source, order = order, source
        _sort_digit(bucket, source, order, place, step * width, width, tile, first=step == 0)
    return order, place


def _sort_digit(
    bucket: Tensor,
    source: Tensor,
    order: Tensor,
    place: Tensor,
    shift: int,
    width: int,
    tile: int,
    *,
    first: bool,
) -> None:
    n, sequences = bucket.shape[-1], bucket[..., 0].numel()
    tiles = tiles_of(n, tile)
    counts = torch.empty(sequences, 1 << width, tiles, dtype=torch.int32, device=bucket.device)
    ends = torch.empty_like(counts)
    how = {"SHIFT": shift, "VALUES": 1 << width, "FIRST": first}
    where = {"sequences": sequences, "length": n, "rows": tile}
    launch(lsh_sort_count_kernel, bucket, source, counts, ends, n, **where, **how)
    starts = counts.flatten(1).cumsum(-1, dtype=torch.int32).view_as(ends).sub_(ends)
    launch(lsh_sort_place_kernel, bucket, source, starts, order, place, n, **where, **how)


@no_type_check
@triton.jit
def lsh_sort_count_kernel(
    bucket: tl.tensor,
    source: tl.tensor,
    counts: tl.tensor,
    ends: tl.tensor,
    n: tl.tensor,
    SHIFT: tl.constexpr,
    VALUES: tl.constexpr,
    FIRST: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:
    """Count the values of a digit in a tile; `ends` gets their running sum.

    Summed over the tiles of all smaller values, the counts less these ends tell where the tokens
    of a tile go, if one adds their place in the tile sorted by the digit.
    """
    tiles = tl.cdiv(n, ROWS)
    tile, sequence = tl.program_id(0) % tiles, (tl.program_id(0) // tiles).to(tl.int64)
    _, digit = _digits(bucket, source, sequence, tile, n, SHIFT, VALUES, FIRST, ROWS)
    values = tl.arange(0, VALUES)
    counted = tl.histogram(tl.minimum(digit, VALUES - 1), VALUES)
    # What lies beyond the end was counted as the largest value.
    beyond = tl.maximum((tile + 1) * ROWS - n, 0)
    counted -= tl.where(values == VALUES - 1, beyond, 0)
    at = (sequence * VALUES + values) * tiles + tile
    tl.store(counts + at, counted)
    tl.store(ends + at, tl.cumsum(counted, 0))


@no_type_check
@triton.jit
def lsh_sort_place_kernel(
    bucket: tl.tensor,
    source: tl.tensor,
    starts: tl.tensor,
    order: tl.tensor,
    place: tl.tensor,
    n: tl.tensor,
    SHIFT: tl.constexpr,
    VALUES: tl.constexpr,
    FIRST: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:
    """Put the tokens of a tile where they belong by a digit, and write down where that is."""
    tiles = tl.cdiv(n, ROWS)
    tile, sequence = tl.program_id(0) % tiles, (tl.program_id(0) // tiles).to(tl.int64)
    _, digit = _digits(bucket, source, sequence, tile, n, SHIFT, VALUES, FIRST, ROWS)
    lanes = tl.arange(0, ROWS)
    packed = tl.sort(digit * ROWS + lanes)
    digit, lane = packed // ROWS, packed % ROWS
    held = digit < VALUES
    start = tl.load(starts + (sequence * VALUES + digit) * tiles + tile, mask=held, other=0)
    token = tile * ROWS + lane
    if not FIRST:
        token = tl.load(source + sequence * n + token, mask=held, other=0)
    tl.store(order + sequence * n + start + lanes, token, mask=held)
    tl.store(place + sequence * n + token, start + lanes, mask=held)


@no_type_check
@triton.jit
def _digits(
    bucket: tl.tensor,
    source: tl.tensor,
    sequence: tl.tensor,
    tile: tl.tensor,
    n: tl.tensor,
    SHIFT: tl.constexpr,
    VALUES: tl.constexpr,
    FIRST: tl.constexpr,
    ROWS: tl.constexpr,
) -> tl.tensor:
    """Return the tokens of a tile as sorted so far and a digit of their buckets; VALUES at none."""
    at = tile * ROWS + tl.arange(0, ROWS)
    token = at
    if not FIRST:
        token = tl.load(source + sequence * n + at, mask=at < n, other=0)
    value = tl.load(bucket + sequence * n + token, mask=at < n, other=0).to(tl.int32)
    return token, tl.where(at < n, (value >> SHIFT) & (VALUES - 1), VALUES)
