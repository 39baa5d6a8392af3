"""Laws of the kernels that hash and sort: what PyTorch's own operations give."""

from __future__ import annotations

import math

import pytest
import torch

from models.kernels.lsh_hash import bucket_dtype, hash_vectors
from models.kernels.lsh_plan import draw_rotations, sorted_by
from models.kernels.triton_hash import hash_tokens
from models.kernels.triton_plan import make_plan
from models.kernels.triton_sort import counting_sort
from tests.models.kernels.triton_laws.conftest import DEVICE, ON_DEVICE, poisoned

TILE = 1024 if ON_DEVICE else 32  # tokens of a program; sorting 1024 takes the interpreter seconds
LONG = 100 if ON_DEVICE else 1


def vectors(n: int, d: int, dtype: torch.dtype) -> torch.Tensor:
    x = torch.randn(2, 2, n, d, generator=torch.Generator().manual_seed(n))
    x[0, 0, n // 2] = 0  # a tie of all coordinates
    return x.to(DEVICE, dtype)


@pytest.mark.parametrize(
    ("n", "d", "rounds", "factors", "dtype"),
    [
        (70, 32, 2, [8], torch.float32),
        (64, 64, 1, [16, 6], torch.float16),
        (33, 32, 1, [2, 4, 10], torch.float32),
        (20, 128, 2, [300], torch.float32),  # more columns than a tile has
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_buckets_are_those_of_the_rotations(n, d, rounds, factors, dtype, masked) -> None:
    x = vectors(n * LONG, d, dtype)
    rotations = draw_rotations(heads=2, dim=d, rounds=rounds, factors=factors, seed=3)
    mask = torch.rand(2, n * LONG, generator=torch.Generator().manual_seed(1)).to(DEVICE) > 0.3
    with poisoned():
        found = hash_tokens(x, rotations, factors, mask if masked else None)
    wanted = hash_vectors(x, rotations, factors)
    if masked:
        wanted = wanted.masked_fill(~mask[:, None, None, :], math.prod(factors))
    assert found.dtype == bucket_dtype(factors)
    # Other sums round differently: a vector between two buckets may get either.
    assert (found != wanted).double().mean() <= (1e-4 if ON_DEVICE else 0)


@pytest.mark.parametrize(
    ("n", "buckets", "dtype"),
    [
        (1, 2, torch.int16),
        (32, 2, torch.int16),
        (65, 17, torch.int16),
        (70, 256, torch.int16),
        (70, 3000, torch.int16),  # two digits
        (40, 70_000, torch.int32),  # three
    ],
)
def test_the_order_is_that_of_a_stable_sort_and_comes_with_its_inverse(n, buckets, dtype) -> None:
    generator = torch.Generator().manual_seed(n)
    bucket = torch.randint(buckets, (1, 2, 1, n * LONG), generator=generator).to(DEVICE, dtype)
    with poisoned():
        order, place = counting_sort(bucket, buckets, tile=TILE)
    wanted = sorted_by(bucket)
    assert order.dtype == place.dtype == torch.int32
    assert torch.equal(order, wanted.order)
    assert torch.equal(place, wanted.place)


def test_a_plan_puts_padding_behind_all_tokens() -> None:
    x = vectors(50, 32, torch.float32)
    rotations = draw_rotations(heads=2, dim=32, rounds=1, factors=[8], seed=3)
    mask = torch.rand(2, 50, generator=torch.Generator().manual_seed(1)).to(DEVICE) > 0.3
    plan = make_plan(x, rotations, [8], mask, tile=TILE)
    shown = mask[:, None, None, :].expand_as(plan.order).gather(-1, plan.order.long())
    assert torch.equal(shown, shown.sort(dim=-1, descending=True).values)
    assert (plan.bucket.gather(-1, plan.order.long()).diff(dim=-1) >= 0).all()
