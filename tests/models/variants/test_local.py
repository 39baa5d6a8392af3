"""Local attention: who sees whom, and the ends."""

import pytest
import torch
from torch import Tensor

from models.variant import Shape
from models.variants.local import VARIANT, LocalAttention, LocalOptions

# Each kind of block is compiled for seconds: that impl has tests/models/kernels/test_compiled.py.
impls = pytest.mark.parametrize("impl", [i for i in VARIANT.impls if i != "compiled"])


def seen(options: LocalOptions, *, causal: bool, impl: str, length: int) -> Tensor:
    """Return which value each output depends on, by trying."""
    attention = LocalAttention(options, causal=causal, impl=impl, head_dim=2)
    q, k, _ = (torch.randn(1, 1, length, 2, dtype=torch.float64) for _ in range(3))
    units = torch.eye(length, dtype=torch.float64)
    columns = [attention(q, k, unit.view(1, 1, -1, 1).expand_as(q))[0, 0, :, 0] for unit in units]
    return torch.stack(columns, dim=1) > 0


@impls
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, None), (2, 0), (1, 2), (9, None)])
def test_each_token_sees_its_chunk_and_the_neighbours_only(
    before: int, after: int | None, causal: bool, impl: str
) -> None:
    if causal and after:
        with pytest.raises(ValueError, match="sees no later chunk"):
            LocalOptions(before=before, after=after).window(causal=True)
        return
    length, chunk = 11, 3
    found = seen(
        LocalOptions(chunk=chunk, before=before, after=after),
        causal=causal,
        impl=impl,
        length=length,
    )
    ahead = (0 if causal else before) if after is None else after
    for i in range(length):
        for j in range(length):
            near = -before <= j // chunk - i // chunk <= ahead
            assert bool(found[i, j]) == (near and (j <= i or not causal)), (i, j)


@impls
def test_the_first_chunk_never_sees_the_last(impl: str) -> None:
    found = seen(LocalOptions(chunk=4), causal=False, impl=impl, length=16)
    assert not found[:4, 12:].any()
    assert not found[12:, :4].any()


@impls
def test_a_window_over_everything_is_full_attention(impl: str) -> None:
    q, k, v = (torch.randn(1, 2, 20, 8, dtype=torch.float64) for _ in range(3))
    attention = LocalAttention(LocalOptions(chunk=32), causal=True, impl=impl, head_dim=8)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(attention(q, k, v), expected)


@pytest.mark.parametrize(
    "values", [{"chunk": 0}, {"before": -1}, {"after": -1}], ids=lambda v: next(iter(v))
)
def test_impossible_sizes_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        LocalOptions(**values)


@pytest.mark.parametrize("length", [1, 3, 4, 5, 8, 11, 12, 30])
@pytest.mark.parametrize(("before", "after"), [(1, 0), (0, 0), (2, 1), (5, 5)])
def test_counted_pairs_are_whole_chunks_times_whole_windows(
    length: int, before: int, after: int
) -> None:
    options = LocalOptions(chunk=4, before=before, after=after)
    chunk = min(4, length)
    chunks = -(-length // chunk)
    span = 1 + min(before, chunks - 1) + min(after, chunks - 1)
    shape = Shape(batch=1, heads=1, seq_len=length, head_dim=1, causal=False)
    expected = 4 * chunks * chunk * span * chunk
    assert VARIANT.cost(options, shape, "chunked").executed_flops == expected


@impls
@pytest.mark.parametrize("causal", [True, False])
def test_gradients_are_those_of_differences_also_with_padding(causal: bool, impl: str) -> None:
    attention = LocalAttention(LocalOptions(chunk=2), causal=causal, impl=impl, head_dim=2)
    generator = torch.Generator().manual_seed(0)
    leaves = torch.randn(3, 1, 1, 5, 2, generator=generator, dtype=torch.float64)
    mask = torch.tensor([[True, False, True, True, True]])
    q, k, v = (x.clone().requires_grad_() for x in leaves)
    assert torch.autograd.gradcheck(lambda *qkv: attention(*qkv, mask), (q, k, v))


@impls
def test_dropout_takes_normalised_weights_away_in_training_only(impl: str) -> None:
    options = LocalOptions(chunk=8, attention_dropout=0.4)
    attention = LocalAttention(options, causal=True, impl=impl, head_dim=4)
    q, k, v = torch.randn(3, 2, 3, 8, 4, dtype=torch.float64)
    scores = (q @ k.mT / 2).masked_fill(torch.ones(8, 8).triu(1).bool(), -torch.inf)
    torch.manual_seed(0)
    kept = torch.nn.functional.dropout(torch.ones_like(scores), 0.4)
    torch.manual_seed(0)
    expected = (kept * scores.softmax(-1)) @ v
    torch.testing.assert_close(attention(q, k, v), expected)
    torch.testing.assert_close(attention.eval()(q, k, v), scores.softmax(-1) @ v)


def test_decoding_keeps_no_more_than_a_window() -> None:
    attention = LocalAttention(LocalOptions(chunk=4), causal=True, impl="chunked", head_dim=2)
    q = torch.randn(2, 1, 30, 2)
    state = attention.begin(q, q, q)
    for _ in range(5):
        _, state = attention.step(q[:, :, :1], q[:, :, :1], q[:, :, :1], state)
    assert state.k.shape == state.v.shape == (2, 1, 8, 2)
    assert state.count.tolist() == [35, 35]


def test_impossible_dropout_is_refused() -> None:
    with pytest.raises(ValueError, match=r"attention_dropout: 1.0; at least 0 and below 1"):
        LocalOptions(attention_dropout=1.0)
