"""Random-rotation hashing: the buckets of vectors, in blocks that a cache holds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.kernels.region import region

# Vectors that are rotated at a time. On a CPU what they become stays in the second level cache.
BLOCK = {"cpu": 2048}
BLOCK_ELSEWHERE = 2**18
_SIGN, _SIZE = 31, 0x7FFFFFFF  # of a float32 as an integer: the sign's bit, and the others


def hash_vectors(
    x: Float[Tensor, "b h t d"], rotations: Float[Tensor, "h d r f"], factors: Sequence[int]
) -> Int[Tensor, "b h r t"]:
    """Return the bucket of each vector in each round.

    `h(x) = argmax [x R; -x R]` per factor (section 2, "Locality sensitive hashing"). It runs in
    float32 on detached vectors whatever the model computes in, so a float64 reference hashes
    exactly as the float32 model that it checks.

    The maximum is one over integers: `|x R|` as its bits, of which the lowest `log2 factor` give
    way to the number of the bucket. So rotated values that differ by less than `factor 2^-24` of
    themselves count as equal, and the lower number wins. For finite numbers that takes a third of
    the time of a maximum that keeps track of its index, and gives the same bucket but for one
    vector in some ten thousands.
    """
    flat = rotations.to(x.device, torch.float32)
    b, h, t, _ = x.shape
    rounds = rotations.shape[2]
    bucket = torch.empty(b, h, rounds, t, dtype=bucket_dtype(factors), device=x.device)
    with region("hash"), torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        parts = [*_by_factor(flat, factors)]
        size = max(256, BLOCK.get(x.device.type, BLOCK_ELSEWHERE) // max(1, b * h))
        for start in range(0, t, size):
            vectors = x[:, :, start : start + size].detach().float()
            weight, found = 1, None
            for rotation, factor in parts:
                digit = _nearest(vectors @ rotation, rounds, factor // 2)
                found = digit if found is None else found.add_(digit, alpha=weight)
                weight *= factor
            assert found is not None
            bucket[..., start : start + size] = found.movedim(-1, -2)
    return bucket


def bucket_dtype(factors: Sequence[int]) -> torch.dtype:
    """Return the narrowest type that holds every bucket, the one of padding included."""
    narrow = math.prod(factors) <= torch.iinfo(torch.int16).max
    return torch.int16 if narrow else torch.int32


def nearest_buckets(
    rotated: Float[Tensor, "b h r t f"], factors: Sequence[int]
) -> Int[Tensor, "b h r t"]:
    """Return `argmax [y; -y]` of the rotated vectors y: mixed digits, one for each factor."""
    bucket = torch.zeros(rotated.shape[:-1], dtype=torch.int64, device=rotated.device)
    weight = 1
    for part, factor in zip(rotated.split([f // 2 for f in factors], -1), factors, strict=True):
        bucket += weight * torch.cat([part, -part], dim=-1).argmax(dim=-1)
        weight *= factor
    return bucket.to(bucket_dtype(factors))


def _by_factor(rotations: Tensor, factors: Sequence[int]) -> Iterator[tuple[Tensor, int]]:
    """Yield the columns `[h, d, r f]` of each factor."""
    halves = [factor // 2 for factor in factors]
    for part, factor in zip(rotations.split(halves, dim=-1), factors, strict=True):
        yield part.flatten(2).contiguous(), factor


def _nearest(rotated: Tensor, rounds: int, columns: int) -> Tensor:
    """Return the digit of each round, int32 `[b, h, t, r]`; `rotated` is written over."""
    bits = max(1, (2 * columns - 1).bit_length())
    low = (1 << bits) - 1
    # The code of a column is larger for lower buckets: positive ones first, then negative ones.
    column = torch.arange(columns, dtype=torch.int32, device=rotated.device)
    key = rotated.view(torch.int32)
    negative = key >> _SIGN  # -1 or 0
    key.bitwise_and_(_SIZE & ~low)
    key = key.unflatten(-1, (rounds, columns))
    key.bitwise_or_(low - column).add_(negative.view(key.shape), alpha=columns)
    return low - (key.amax(dim=-1) & low)
