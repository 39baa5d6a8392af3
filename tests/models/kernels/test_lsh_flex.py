"""LSH attention by FlexAttention: on a CPU its values, without compiling; gradients on a device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from models.kernels import lsh_flex
from models.kernels.lsh_definition import attend_rows
from models.kernels.lsh_dispatch import Call
from models.kernels.lsh_options import LSHOptions
from models.kernels.lsh_plan import LSHPlan, draw_rotations, make_plan, whole_sequence
from models.unsupported import Unsupported
from models.variants.lsh import LSHAttention

# torch 2.13 looks at autograd functions in a way that it deprecates, the first time in a process.
pytestmark = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")

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


def test_block_lists_hold_every_block_in_which_a_pair_meets_and_no_other() -> None:
    for chunk, before, after in ((64, 1, 0), (64, 1, 1), (48, 2, 0), (128, 1, 0), (32, 0, 0)):
        options = LSHOptions(chunk=chunk, before=before, after=after)
        places = 6 * lsh_flex.BLOCK
        blocks = lsh_flex._blocks(places, options.window, "cpu")
        at = torch.arange(places) // chunk
        apart = at[None, :] - at[:, None]
        met = (apart >= -before) & (apart <= after)
        met = met.view(6, lsh_flex.BLOCK, 6, lsh_flex.BLOCK).any(dim=3).any(dim=1)
        assert torch.equal(blocks.to_dense()[0, 0].bool(), met), (chunk, before, after)
        assert torch.equal(blocks.kv_num_blocks[0, 0].long(), met.sum(dim=1))
        assert blocks.q_num_blocks is not None
        assert torch.equal(blocks.q_num_blocks[0, 0].long(), met.sum(dim=0))


CALL = Call(
    device="cuda",
    dtype=torch.bfloat16,
    sequences=2,
    seq_len=100,
    head_dim=64,
    causal=True,
    masked=False,
    dropout=0.0,
    gradients=True,
)


@pytest.mark.parametrize(
    ("changes", "options", "reason"),
    [
        ({"device": "cpu"}, LSHOptions(), "the device is cpu; allowed: cuda"),
        ({"dropout": 0.5}, LSHOptions(), "dropout is 0.5; FlexAttention has none"),
        ({}, LSHOptions(count_once=True), "count_once is not expressed"),
        ({"dtype": torch.float64}, LSHOptions(), "dtype is torch.float64; allowed: "),
        ({"head_dim": 80}, LSHOptions(), "head_dim is 80; allowed: powers of two from 16"),
    ],
)
def test_what_it_cannot_do_is_refused_with_the_reason(
    changes: dict[str, Any], options: LSHOptions, reason: str
) -> None:
    assert lsh_flex.refuse(CALL, LSHOptions()) is None
    told = lsh_flex.refuse(replace(CALL, **changes), options)
    assert told is not None
    assert told.startswith(reason)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_without_a_device_it_says_why_none_of_it_runs() -> None:
    with pytest.raises(Unsupported, match="flex: needs a CUDA device; on a CPU FlexAttention has"):
        LSHAttention(LSHOptions(), causal=True, impl="flex", head_dim=DIM)
