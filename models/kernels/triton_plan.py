"""Plans made on a CUDA device by fused kernels: hashing in one, then a counting sort."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from models.kernels.lsh_plan import LSHPlan
from models.kernels.region import region
from models.kernels.triton_hash import hash_tokens
from models.kernels.triton_sort import TILE, counting_sort


def make_plan(
    x: Float[Tensor, "b h t d"],
    rotations: Float[Tensor, "h d r f"],
    factors: Sequence[int],
    mask: Bool[Tensor, "b t"] | None = None,
    *,
    tile: int = TILE,
) -> LSHPlan:
    """Hash vectors and sort them; as `lsh_plan.make_plan`, but for vectors between two buckets."""
    with region("hash"), torch.no_grad():
        bucket = hash_tokens(x, rotations, factors, mask)
    order, place = counting_sort(bucket, math.prod(factors) + (mask is not None), tile=tile)
    return LSHPlan(order=order, place=place, bucket=bucket)
