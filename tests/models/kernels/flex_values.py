"""The values of FlexAttention without compiling, run by test_lsh_flex.py in a process of its own.

Without a compiler FlexAttention is traced by Dynamo, which keeps for the life of a process what it
could not trace once: what other tests had compiled would decide.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.kernels import lsh_flex
from models.kernels.lsh_definition import attend_rows
from models.kernels.lsh_options import LSHOptions
from models.kernels.lsh_plan import LSHPlan, draw_rotations, make_plan, whole_sequence

HEADS, DIM = 2, 16


def plan_of(q: torch.Tensor, options: LSHOptions, mask: torch.Tensor | None) -> LSHPlan:
    length = q.shape[2]
    if not options.hashed(length):
        return whole_sequence(q)
    factors = options.factors(length)
    rotations = draw_rotations(
        heads=HEADS, dim=DIM, rounds=options.hashes, factors=factors, seed=options.seed
    )
    return make_plan(q, rotations, factors, mask)


@pytest.mark.parametrize(
    ("length", "causal", "masked", "options"),
    [
        (300, False, False, {"chunk": 64}),
        (300, True, True, {"chunk": 48, "after": 1}),  # chunks that straddle blocks
        (128, True, False, {"chunk": 16, "before": 0}),
        (300, False, True, {"chunk": 20, "same_bucket": True, "buckets": 4}),
        (300, True, False, {"chunk": 16, "strict": True, "buckets": 8}),
        (300, True, False, {"chunk": 200, "hashes": 1}),  # larger than a block
        (20, False, True, {"chunk": 64}),
        (1, True, False, {}),
    ],
)
def test_values_are_those_of_the_definition(
    length: int, causal: bool, masked: bool, options: dict[str, Any]
) -> None:
    given: dict[str, Any] = {"hashes": 2} | options
    rules = LSHOptions(**given)
    generator = torch.Generator().manual_seed(length)
    q, v = torch.randn(2, 2, HEADS, length, DIM, generator=generator)
    mask = torch.rand(2, length, generator=generator) > 0.3 if masked else None
    plan, how = plan_of(q, rules, mask), {"causal": causal, "scale": 0.7, "dropout": 0.0}
    with torch.no_grad():
        found = lsh_flex.attend(q, v, plan, mask, rules, **how)
    rows = torch.arange(length)
    wanted = attend_rows(q.double(), v.double(), rows, plan, mask, rules, **how)
    if mask is not None:
        found, wanted = (x.masked_fill(~mask[:, None, :, None], 0) for x in (found, wanted))
    torch.testing.assert_close(found.double(), wanted, rtol=2e-6, atol=2e-6)
