"""Padding changes nothing for tokens, wherever it stands; decoding goes on behind it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.variant import Attention
from models.variants.full import FullAttention, FullOptions
from models.variants.local import LocalAttention, LocalOptions
from models.variants.lsh import LSHAttention, LSHOptions

DIM = 8
LENGTHS = (15, 40, 61)  # tokens of each row; without its last three each is over a chunk
LONG = 75
LSH: dict[str, dict[str, Any]] = {
    "lsh": {"buckets": 6},
    "lsh, look ahead": {"buckets": 6, "after": 1, "hashes": 2},
    "lsh, all options": {
        "buckets": (4, 2),
        "same_bucket": True,
        "count_once": True,
        "logit_scale": "sqrt_d",
    },
    "lsh, strict": {"buckets": 6, "strict": True},
}
DECODERS = ("full", "local", *LSH)
CASES = [(name, True) for name in DECODERS]
CASES += [(name, False) for name in DECODERS if "strict" not in name]


def make(name: str, causal: bool = True, impl: str | None = None) -> Attention:
    if name == "full":
        return FullAttention(FullOptions(), causal=causal, impl=impl or "sdpa", head_dim=DIM)
    if name == "local":
        options = LocalOptions(chunk=8)
        return LocalAttention(options, causal=causal, impl=impl or "chunked", head_dim=DIM)
    options = LSHOptions(chunk=8, **LSH[name])
    return LSHAttention(options, causal=causal, impl=impl or "chunked", head_dim=DIM)


def rows() -> list[list[Tensor]]:
    """Return q, k, v of each row, without padding."""
    generator = torch.Generator().manual_seed(0)
    return [
        [torch.randn(1, 2, n, DIM, generator=generator, dtype=torch.float64) for _ in range(3)]
        for n in LENGTHS
    ]


def places(side: str, n: int) -> Tensor:
    """Return where the n tokens of a row stand."""
    if side == "left":
        return torch.arange(LONG - n, LONG)
    if side == "right":
        return torch.arange(n)
    return torch.randperm(LONG, generator=torch.Generator().manual_seed(n))[:n].sort().values


def batch(side: str) -> tuple[list[Tensor], Tensor]:
    tensors = [torch.full((len(LENGTHS), 2, LONG, DIM), 3.0, dtype=torch.float64) for _ in "qkv"]
    mask = torch.zeros(len(LENGTHS), LONG, dtype=torch.bool)
    for row, (n, single) in enumerate(zip(LENGTHS, rows(), strict=True)):
        mask[row, places(side, n)] = True
        for whole, part in zip(tensors, single, strict=True):
            whole[row, :, places(side, n)] = part[0]
    return tensors, mask


@pytest.mark.parametrize("side", ["left", "right", "in between"])
@pytest.mark.parametrize(("name", "causal"), CASES)
def test_padding_changes_nothing_for_tokens_and_gives_zeros_itself(
    name: str, causal: bool, side: str
) -> None:
    attention = make(name, causal)
    tensors, mask = batch(side)
    leaves = [x.requires_grad_() for x in tensors]
    out = attention(*leaves, mask=mask)
    found = torch.autograd.grad(out.square().sum(), leaves, materialize_grads=True)
    assert not out[~mask[:, None].expand(-1, 2, -1)].any()
    for row, (n, single) in enumerate(zip(LENGTHS, rows(), strict=True)):
        alone = [x.requires_grad_() for x in single]
        expected = attention(*alone)
        where = places(side, n)
        torch.testing.assert_close(out[row, :, where], expected[0], rtol=1e-12, atol=1e-12)
        gradients = torch.autograd.grad(expected.square().sum(), alone, materialize_grads=True)
        for one, other in zip(found, gradients, strict=True):
            torch.testing.assert_close(one[row, :, where], other[0], rtol=1e-11, atol=1e-11)
            assert one[row].count_nonzero() == other[0].count_nonzero()


@pytest.mark.parametrize("name", DECODERS)
def test_every_row_of_a_left_padded_batch_decodes_as_it_would_alone(name: str) -> None:
    attention = make(name)
    tensors, mask = batch("left")
    start = LONG - 3
    state = attention.begin(*(x[:, :, :start] for x in tensors), mask=mask[:, :start])
    expected = attention(*tensors, mask=mask)
    for t in range(start, LONG):
        out, state = attention.step(*(x[:, :, t : t + 1] for x in tensors), state=state)
        seen = attention(*(x[:, :, : t + 1] for x in tensors), mask=mask[:, : t + 1])
        torch.testing.assert_close(out, seen[:, :, -1:], rtol=1e-12, atol=1e-12)
        for row, (n, single) in enumerate(zip(LENGTHS, rows(), strict=True)):
            upto = n - (LONG - 1 - t)
            alone = attention(*(x[:, :, :upto] for x in single))
            torch.testing.assert_close(out[row], alone[0, :, -1:], rtol=1e-12, atol=1e-12)
        if "lsh" not in name or "strict" in name:  # elsewhere later tokens move the borders
            torch.testing.assert_close(out, expected[:, :, t : t + 1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", DECODERS)
def test_reordered_states_decode_as_the_reordered_batch(name: str) -> None:
    attention, chosen = make(name), torch.tensor([2, 0, 2, 1])
    tensors, mask = batch("left")
    state = attention.begin(*(x[:, :, :-2] for x in tensors), mask=mask[:, :-2])
    token = [x[:, :, -2:-1] for x in tensors]
    _, state = attention.step(*token, state=state)
    last = [x[:, :, -1:] for x in tensors]
    expected, _ = attention.step(*last, state=state)
    found, _ = attention.step(*(x[chosen] for x in last), state=attention.reorder(state, chosen))
    torch.testing.assert_close(found, expected[chosen], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", DECODERS)
def test_a_state_is_a_value_that_two_continuations_share(name: str) -> None:
    attention = make(name)
    tensors, mask = batch("left")
    state = attention.begin(*(x[:, :, :-2] for x in tensors), mask=mask[:, :-2])
    _, state = attention.step(*(x[:, :, -2:-1] for x in tensors), state=state)
    one = [x[:, :, -1:] for x in tensors]
    two = [x + 1 for x in one]
    _, first = attention.step(*one, state=state)
    expected, _ = attention.step(*two, state=first)
    attention.step(*two, state=state)  # another continuation of the same state
    found, _ = attention.step(*two, state=first)
    assert torch.equal(found, expected)
