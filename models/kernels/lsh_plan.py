"""Who meets whom in LSH attention: random-rotation hashing and the sorted order of each round."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.kernels.region import region

FUSED_DIMS = (16, 32, 64, 128, 256)  # head dimensions of the fused hash
UNFACTORISED = 128  # the largest bucket count that is hashed in one piece


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
    return sorted_by(bucket)


def fused(x: Float[Tensor, "b h t d"]) -> bool:
    """Tell whether fused kernels hash and sort these vectors."""
    fits = x.shape[-1] in FUSED_DIMS
    return x.is_cuda and fits and importlib.util.find_spec("triton") is not None


def hash_vectors(
    x: Float[Tensor, "b h t d"], rotations: Float[Tensor, "h d r f"], factors: Sequence[int]
) -> Int[Tensor, "b h r t"]:
    """Return the bucket of each vector in each round.

    `h(x) = argmax [x R; -x R]` per factor (section 2, "Locality sensitive hashing"). It runs in
    float32 on detached vectors whatever the model computes in, so a float64 reference hashes
    exactly as the float32 model that it checks.
    """
    rounds, columns = rotations.shape[2:]
    flat = rotations.flatten(2).to(x.device, torch.float32)
    with region("hash"), torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        rotated = x.detach().float().contiguous() @ flat
        rotated = rotated.unflatten(-1, (rounds, columns)).movedim(-2, 2)
        return nearest_buckets(rotated, factors)


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


def bucket_dtype(factors: Sequence[int]) -> torch.dtype:
    """Return the narrowest type that holds every bucket, the one of padding included."""
    narrow = math.prod(factors) <= torch.iinfo(torch.int16).max
    return torch.int16 if narrow else torch.int32


def sorted_by(bucket: Int[Tensor, "b h r t"]) -> LSHPlan:
    """Sort by bucket, and stably: no key of bucket and position is formed that could overflow."""
    order = torch.sort(bucket, dim=-1, stable=True).indices
    places = torch.arange(order.shape[-1], dtype=torch.int32, device=order.device)
    place = torch.empty_like(bucket, dtype=torch.int32)
    place.scatter_(-1, order, places.expand_as(bucket))
    return LSHPlan(order=order.to(torch.int32), place=place, bucket=bucket)
