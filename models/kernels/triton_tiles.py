"""Which tiles the Triton kernels of LSH attention use, by chunk, head dimension and rule.

Chosen so that for sm_90 no register is spilled and products use whole warp groups (wgmma), which
take 64 rows at least; `.ci/kernels` prints the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Need = Literal["little", "some", "much"]  # of registers, for the rule of who meets whom


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """How a kernel divides its work."""

    rows: int  # places that a program owns: chunks in whole, or a part of one
    others: int  # places of the window that it meets at a time
    warps: int
    stages: int = 1  # of the software pipeline over the window

    def constants(self) -> dict[str, int]:
        """Return the keyword arguments of `launch`."""
        names = ("rows", "warps", "stages")
        return {"OTHERS": self.others} | {name: getattr(self, name) for name in names}


def forward_tile(chunk: int, dim: int, need: Need) -> Tile:
    """Return the tile of the forward.

    With chunks of 64 a program meets both chunks of its window in one piece, so that no sum is
    rescaled.
    """
    if need != "little":
        return Tile(rows=64, others=32, warps=8 if dim == 128 else 4)
    if chunk == 128 and dim <= 64:
        return Tile(rows=128, others=64, warps=8)
    return Tile(rows=64, others=128 if chunk == 64 else 32, warps=4)


def backward_tiles(chunk: int, dim: int, need: Need) -> tuple[Tile, ...]:
    """Return the tile of the backward; at 128 dimensions two: the keys' part, the queries' part.

    Two accumulators of [64, 128] and the scores do not fit the registers of 4 warps.
    """
    others = 16 if need == "much" else 32
    if dim == 128:
        keys = Tile(rows=64, others=others, warps=8)
        return keys, Tile(rows=64, others=others, warps=4 if need == "little" else 8)
    if need != "little":
        return (Tile(rows=64, others=others, warps=8),)
    return (Tile(rows=64, others=64 if chunk >= 64 else 32, warps=4),)
