"""What every mechanism has without doing anything for it: rows, decoding, refusals."""

import pytest
import torch
from torch import Tensor

from models.layers.attention_layer import AttentionLayer
from models.variant import Attention, Crosses, Unsupported, attend, check_causal
from models.variants.full import FullAttention, FullOptions
from models.variants.local import LocalAttention, LocalOptions


class RunningMean(Attention):
    """A plugin as the README shows one: it knows nothing of masks and decoding."""

    def forward(self, q, k, v):  # pyright: ignore[reportIncompatibleMethodOverride] - plugins do
        return v.cumsum(2) / torch.arange(1, v.shape[2] + 1).view(-1, 1)


class MaskedMean(Attention):
    def forward(self, q, k, v, mask=None):
        shown = torch.ones(v.shape[0], v.shape[2]) if mask is None else mask.to(v.dtype)
        total = (v * shown[:, None, :, None]).cumsum(2)
        return total / shown.cumsum(1).clamp(min=1)[:, None, :, None]


def vectors(length: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(length)
    return [torch.randn(3, 2, length, 4, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("masked", [True, False])
def test_any_causal_mechanism_decodes_by_computing_again(masked: bool) -> None:
    attention = MaskedMean() if masked else RunningMean()
    q, k, v = vectors(9)
    mask = torch.ones(3, 9, dtype=torch.bool)
    mask[1, :3] = False
    masks = mask if masked else None
    state = attention.begin(q[:, :, :5], k[:, :, :5], v[:, :, :5], mask[:, :5] if masked else None)
    expected = attend(attention, q, k, v, masks)
    for t in range(5, 9):
        one = slice(t, t + 1)
        out, state = attention.step(q[:, :, one], k[:, :, one], v[:, :, one], state)
        torch.testing.assert_close(out, expected[:, :, one])
        rows = torch.tensor([2, 0, 1])
        state = attention.reorder(attention.reorder(state, rows), rows.argsort())


def test_a_mechanism_without_a_mask_works_until_one_is_given() -> None:
    layer = AttentionLayer(RunningMean(), d_model=8, heads=2, head_dim=4)
    x = torch.randn(2, 5, 8)
    assert layer(x).shape == (2, 5, 8)
    with pytest.raises(Unsupported, match="RunningMean takes no mask"):
        layer(x, torch.ones(2, 5, dtype=torch.bool))


def test_a_bidirectional_mechanism_does_not_decode() -> None:
    q, k, v = vectors(5)
    for attention in (
        FullAttention(FullOptions(), causal=False, impl="sdpa", head_dim=4),
        LocalAttention(LocalOptions(), causal=False, impl="chunked", head_dim=4),
    ):
        with pytest.raises(Unsupported, match="bidirectional"):
            attention.begin(q, k, v)
    check_causal(RunningMean())


def test_only_exact_attention_crosses_to_another_sequence() -> None:
    full = FullAttention(FullOptions(), causal=False, impl="sdpa", head_dim=4)
    local = LocalAttention(LocalOptions(), causal=False, impl="chunked", head_dim=4)
    assert isinstance(full, Crosses)
    assert not isinstance(local, Crosses)
    layer = AttentionLayer(local, d_model=8, heads=2, head_dim=4)
    with pytest.raises(Unsupported, match="within one sequence"):
        layer(torch.randn(2, 5, 8), context=torch.randn(2, 7, 8))
