"""Rotary positions: scores know distances, padding moves nothing, decoding goes on counting."""

import pytest
import torch
from torch import Tensor

from models.layers.attention_layer import find_mechanism
from models.layers.rotary import RotaryAttention, turn

DIM = 6


def attention(name: str, **options: object) -> RotaryAttention:
    mechanism = find_mechanism(name, options)
    return RotaryAttention(mechanism.build(causal=True, head_dim=DIM), head_dim=DIM)


def vectors(length: int = 21) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, length, DIM, generator=generator).double()
    return q, k, v


def test_pairs_are_turned_by_the_angles_of_the_formula() -> None:
    x = vectors()[0]
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    angle = torch.arange(21.0).double()[:, None] * 10_000 ** (-torch.arange(3.0).double() / 3)
    expected = torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)).flatten(-2)
    torch.testing.assert_close(turn(x, torch.arange(21)[None]), expected)


def test_scores_depend_on_distance_only() -> None:
    q, k, _ = (x.float() for x in vectors())
    far = torch.arange(21)[None] + 1_000_000
    near = turn(q, far - 1_000_000) @ turn(k, far - 1_000_000).mT
    torch.testing.assert_close(turn(q, far) @ turn(k, far).mT, near, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["full", "lsh", "local"])
def test_the_order_of_tokens_matters(name: str) -> None:
    """A peer's exact attention ignores its rotary encoding and has no positions at all."""
    q, k, v = (x.repeat(1, 1, 2, 1) for x in vectors(5))  # each token comes twice
    out = attention(name)(q, k, v)
    assert (out[:, :, 2] - out[:, :, 7]).abs().max() > 1e-2
    swapped = [x[:, :, [1, 0, *range(2, 10)]] for x in (q, k, v)]
    assert (attention(name)(*swapped)[:, :, -1] - out[:, :, -1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["full", "lsh"])
def test_padding_on_the_left_changes_nothing(name: str) -> None:
    options = {"chunk": 4, "buckets": 4} if name == "lsh" else {}
    one = attention(name, **options)
    padded = [torch.cat([torch.ones(2, 2, 5, DIM).double(), x], dim=2) for x in vectors()]
    mask = torch.ones(2, 26, dtype=torch.bool)
    mask[:, :5] = False
    torch.testing.assert_close(one(*padded, mask)[:, :, 5:], one(*vectors()))


@pytest.mark.parametrize("name", ["full", "lsh", "local"])
def test_rows_are_rows_of_the_whole(name: str) -> None:
    rows = torch.tensor([20, 0, 7])
    one = attention(name)
    torch.testing.assert_close(one.rows(*vectors(), rows), one(*vectors())[:, :, rows])


@pytest.mark.parametrize("name", ["full", "local"])
def test_decoding_continues_the_positions_of_every_row(name: str) -> None:
    one = attention(name)
    q, k, v = vectors()
    mask = torch.ones(2, 21, dtype=torch.bool)
    mask[0, :3] = False
    state = one.begin(q[:, :, :15], k[:, :, :15], v[:, :, :15], mask[:, :15])
    order = torch.tensor([1, 0])
    state = one.reorder(state, order)
    whole = one(q, k, v, mask)[order]
    for t in range(15, 21):
        q1, k1, v1 = (x[order, :, t : t + 1] for x in (q, k, v))
        out, state = one.step(q1, k1, v1, state)
        torch.testing.assert_close(out, whole[:, :, t : t + 1])


def test_an_odd_width_is_refused() -> None:
    inner = find_mechanism("full").build(causal=True, head_dim=5)
    with pytest.raises(ValueError, match="head_dim: 5; rotary positions turn pairs"):
        RotaryAttention(inner, head_dim=5)
