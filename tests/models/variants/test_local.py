"""Local attention: who sees whom, and the ends."""

import pytest
import torch
from torch import Tensor

from models.variant import Shape
from models.variants.local import VARIANT, LocalAttention, LocalOptions

impls = pytest.mark.parametrize("impl", VARIANT.impls)


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
