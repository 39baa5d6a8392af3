"""The original's local attention: its circle, its sums over all pairs."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.variants.local import LocalAttention, LocalOptions
from models.variants.local_huggingface import LocalHuggingFaceAttention, LocalHuggingFaceOptions

DIM = 8


def attention(impl: str = "chunked", *, causal: bool = True, **options: Any) -> Any:
    return LocalHuggingFaceAttention(
        LocalHuggingFaceOptions(**{"chunk": 8, **options}), causal=causal, impl=impl, head_dim=DIM
    )


def vectors(length: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 2, length, DIM)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in "qkv"]


def some_padding(length: int) -> Tensor:
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[0, :2] = mask[1, length // 2 :] = False
    mask[1, 0] = False
    return mask


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [9, 61])
@pytest.mark.parametrize(
    "options",
    [{}, {"before": 0}, {"before": 2, "after": 1}, {"before": 9, "after": 7}, {"pad_to": 24}],
)
def test_the_chunks_sum_to_the_definition_over_all_pairs(
    options: dict[str, Any], length: int, causal: bool, masked: bool
) -> None:
    leaves = [x.requires_grad_() for x in vectors(length)]
    mask = some_padding(length) if masked else None
    results: list[list[Tensor]] = []
    for impl in ("chunked", "reference"):
        out = attention(impl, causal=causal, **options)(*leaves, mask)
        weights = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
        results.append([out, *torch.autograd.grad((out * weights).sum(), leaves)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("causal", [True, False])
def test_padding_is_not_seen_and_gets_no_output(causal: bool) -> None:
    mask = some_padding(40)
    tensors, other = vectors(40), vectors(40, seed=1)
    changed = [
        torch.where(mask[:, None, :, None], x, y) for x, y in zip(tensors, other, strict=True)
    ]
    for impl in ("chunked", "reference"):
        layer = attention(impl, causal=causal)
        out = layer(*tensors, mask)
        assert torch.equal(layer(*changed, mask), out)
        assert not out[~mask[:, None].expand(2, 2, -1)].any()
        rows = torch.tensor([0, 39, 7])
        torch.testing.assert_close(layer.rows(*tensors, rows, mask), out[:, :, rows])


@pytest.mark.parametrize("length", [8, 16, 61])
def test_causal_without_padding_it_is_local_attention(length: int) -> None:
    """The circle shows to queries that may see later tokens only."""
    tensors = vectors(length)
    ours = LocalAttention(LocalOptions(chunk=8), causal=True, impl="chunked", head_dim=DIM)
    torch.testing.assert_close(attention()(*tensors), ours(*tensors), rtol=1e-12, atol=1e-12)


def test_the_ends_meet_and_those_of_local_attention_do_not() -> None:
    q, k, v = vectors(64)
    other = v.clone()
    other[:, :, -1] += 1
    options = LocalOptions(chunk=8, before=1, after=0)
    ours = LocalAttention(options, causal=False, impl="chunked", head_dim=DIM)
    theirs = attention(causal=False)
    assert torch.equal(ours(q, k, v)[:, :, :8], ours(q, k, other)[:, :, :8])
    changed = theirs(q, k, v) != theirs(q, k, other)
    assert changed[:, :, :8].all()
    assert not changed[:, :, 8:56].any()


def test_training_sets_weights_to_zero_and_scales_the_others() -> None:
    """Values are unit vectors here, so that outputs are the weights."""
    q, k, _ = vectors(DIM)
    v = torch.eye(DIM, dtype=torch.float64).expand(2, 2, -1, -1)
    layer = attention(causal=False, attention_dropout=0.25)
    weights = layer.eval()(q, k, v)
    torch.manual_seed(0)
    found = layer.train()(q, k, v)
    dropped = found == 0
    assert 0.1 < dropped.double().mean() < 0.5
    torch.testing.assert_close(found, (weights / 0.75).masked_fill(dropped, 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk": 0}, "chunk is at least 1"),
        ({"before": -1}, "before and after are at least 0"),
        ({"attention_dropout": -0.1}, "attention_dropout: -0.1"),
        ({"pad_to": 12}, "pad_to: 12; a multiple of chunk 8"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attention(**options)
