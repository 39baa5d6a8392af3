"""Who meets whom in LSH attention: the sorted order of each round of hashing."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.kernels.lsh_hash import hash_vectors
from models.kernels.region import region

FUSED_DIMS = (16, 32, 64, 128, 256)  # head dimensions of the fused hash
UNFACTORISED = 128  # the largest bucket count that is hashed in one piece
RADIX = 2**15  # torch sorts single rows of integers by their digits from this length on


@dataclass(frozen=True, slots=True, kw_only=True)
class LSHPlan:
    """The decisions of the hash. Saved and used again, they give the same attention again.

    Types are narrow, as every layer of a reversible stack keeps its plan: 10 bytes for each token,
    head and round.
    """

    order: Int[Tensor, "b h r t"]  # int32: position of the token at each place of the sorted order
    place: Int[Tensor, "b h r t"]  # int32, its inverse: place of the token at each position
    bucket: Int[Tensor, "b h r t"]  # of the token at each position; int16, int32 if it must be

    @property
    def rounds(self) -> int:
        """Number of hash rounds."""
        return self.order.shape[2]


def bucket_factors(buckets: int | Sequence[int] | None, seq_len: int, chunk: int) -> list[int]:
    """Return the even factors of the bucket count.

    None stands for the paper's `2 t / chunk` (section 2, `m = 2 l / n_buckets`). Above 128 it is
    split into two factors near its root, so that hashing costs `O(t sqrt(t))` and not `O(t^2)`.
    """
    if isinstance(buckets, int):
        return [buckets]
    if buckets is not None:
        return list(buckets)
    count = 2 * -(-seq_len // chunk)
    if count <= UNFACTORISED:
        return [count]
    first = 2 ** math.ceil(math.log2(count) / 2)
    return [first, 2 * math.ceil(count / (2 * first))]


def draw_rotations(
    *, heads: int, dim: int, rounds: int, factors: Sequence[int], seed: int
) -> Float[Tensor, "h d r f"]:
    """Draw normal rotations for each head and round: a column for two buckets of each factor.

    They come from a generator of their own, on the CPU, so that they are the same on every device:
    the global random state is not touched.
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)
    shape = (heads, dim, rounds, sum(factors) // 2)
    return torch.randn(shape, generator=generator, device="cpu")


def make_plan(
    x: Float[Tensor, "b h t d"],
    rotations: Float[Tensor, "h d r f"],
    factors: Sequence[int],
    mask: Bool[Tensor, "b t"] | None = None,
) -> LSHPlan:
    """Hash vectors and sort them by (bucket, position) in each round.

    Padding gets a bucket of its own behind all others: it fills no chunk before the last token.
    On CUDA fused kernels do it where triton is installed, for whichever impl attends: all impls on
    a device get the same plan.
    """
    if fused(x):
        kernels = importlib.import_module("models.kernels.triton_plan")  # imports triton
        return kernels.make_plan(x, rotations, factors, mask)
    bucket = hash_vectors(x, rotations, factors)
    if mask is not None:
        bucket = bucket.masked_fill(~mask[:, None, None, :], math.prod(factors))
    return sorted_by(bucket, math.prod(factors) + 1)


def fused(x: Float[Tensor, "b h t d"]) -> bool:
    """Tell whether fused kernels hash and sort these vectors."""
    fits = x.shape[-1] in FUSED_DIMS
    return x.is_cuda and fits and importlib.util.find_spec("triton") is not None


def whole_sequence(x: Float[Tensor, "b h t d"]) -> LSHPlan:
    """Return the plan of a sequence that fits into one chunk: one round, one bucket."""
    shape = (*x.shape[:2], 1, x.shape[2])
    order = torch.arange(x.shape[2], dtype=torch.int32, device=x.device).expand(shape)
    return LSHPlan(order=order, place=order, bucket=torch.zeros_like(order, dtype=torch.int16))


def look_up(x: Int[Tensor, "b h t"], positions: Int[Tensor, "#n ..."]) -> Int[Tensor, "n ..."]:
    """Return x at positions of each of the `n = b h` sequences; past the end, its last value."""
    x = x.flatten(0, 1)
    index = positions.clamp(max=x.shape[-1] - 1).long().expand(len(x), *positions.shape[1:])
    return x.gather(1, index.flatten(1)).view(index.shape)


def hash_flops(*, heads: int, seq_len: int, dim: int, rounds: int, factors: list[int]) -> int:
    """Return the FLOPs of the rotations of one sequence."""
    return 2 * heads * seq_len * dim * rounds * (sum(factors) // 2)


def sorted_by(bucket: Int[Tensor, "b h r t"], count: int | None = None) -> LSHPlan:
    """Sort by bucket, and stably: no key of bucket and position is formed that could overflow.

    `count` is larger than every bucket; None: not known.
    """
    with region("sort"):
        order = _stable_order(bucket, count)
        places = torch.arange(order.shape[-1], dtype=torch.int32, device=order.device)
        place = torch.empty_like(bucket, dtype=torch.int32)
        place.scatter_(-1, order, places.expand_as(bucket))
        return LSHPlan(order=order.to(torch.int32), place=place, bucket=bucket)


def _stable_order(bucket: Tensor, count: int | None) -> Tensor:
    """Return the order of each row, by radix sorts where torch has one: single rows on a CPU."""
    rows, length = bucket.numel() // max(1, bucket.shape[-1]), bucket.shape[-1]
    if bucket.device.type != "cpu" or not bucket.numel():
        return torch.sort(bucket, dim=-1, stable=True).indices
    flat = bucket.reshape(rows, length)
    if length >= RADIX:
        found = [torch.sort(row, stable=True).indices for row in flat]
        return torch.stack(found).view(bucket.shape)
    stride = int(flat.max()) + 1 if count is None else count
    if rows * stride > torch.iinfo(torch.int32).max:
        return torch.sort(bucket, dim=-1, stable=True).indices
    # All rows as one: the row is the higher digit of the key, which the sort then keeps apart.
    row = torch.arange(rows, dtype=torch.int32, device=bucket.device).unsqueeze(-1)
    order = torch.sort((flat + row * stride).flatten(), stable=True).indices
    return (order.view(rows, length) - row.long() * length).view(bucket.shape)
