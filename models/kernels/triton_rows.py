"""Device functions of the Triton kernels that read rows of a sequence by their positions."""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl


@no_type_check
@triton.jit
def split_program(tiles: tl.tensor, rounds: tl.tensor, heads: tl.tensor) -> tl.tensor:
    """Return tile, sorted sequence, round, row of the batch times head, and both of these.

    Tiles of a sequence are neighbours in the grid, and so are the rounds of a head: what two
    programs read, they find in the L2 cache. Whatever is multiplied by a length has 64 bits.
    """
    program = tl.program_id(0)
    tile, sequence = program % tiles, (program // tiles).to(tl.int64)
    head = sequence // rounds
    return tile, sequence, sequence % rounds, head, head // heads, head % heads


@no_type_check
@triton.jit
def positions_at(
    order: tl.tensor, places: tl.tensor, low: tl.tensor, high: tl.tensor, n: tl.tensor
) -> tl.tensor:
    """Return the positions of the tokens at places of a sorted sequence; n outside [low, high)."""
    return tl.load(order + places, mask=(places >= low) & (places < high), other=n)


@no_type_check
@triton.jit
def shown_of(
    mask: tl.tensor, positions: tl.tensor, n: tl.tensor, MASKED: tl.constexpr
) -> tl.tensor:
    """Return the positions, with n at padding: no token has that position."""
    if MASKED:
        shown = tl.load(mask + positions, mask=positions < n, other=0)
        positions = tl.where(shown != 0, positions, n)
    return positions


@no_type_check
@triton.jit
def rows_at(
    x: tl.tensor, positions: tl.tensor, stride: tl.tensor, n: tl.tensor, D: tl.constexpr
) -> tl.tensor:
    """Return the rows [m, D] at m positions; zeros at position n."""
    rows = x + positions.to(tl.int64)[:, None] * stride
    return tl.load(rows + tl.arange(0, D)[None, :], mask=(positions < n)[:, None], other=0.0)


@no_type_check
@triton.jit
def inverse_lengths(x: tl.tensor, D: tl.constexpr) -> tl.tensor:
    """Return `1 / |x|` of rows, with the guard of `unit_keys`."""
    wide = x.to(tl.float32)
    return tl.rsqrt(tl.sum(wide * wide, axis=1) + 1e-6 * D)
