"""Full attention against its formula written out."""

import math

import pytest
import torch

from harness.worker.failure import WrongError
from harness.worker.identity import kernel_names, require
from models.variant import Unsupported
from models.variants.full import VARIANT, FullAttention, FullOptions

HERE = ("sdpa", "sdpa_math", "sdpa_flash", "eager", "reference")  # impls that a CPU has
REASONS = {
    "sdpa_efficient": "needs CUDA",
    "sdpa_cudnn": "needs CUDA",
    "flex": "needs CUDA",
    "flash_attn": "pip install flash-attn|needs CUDA",
    "xformers": "pip install xformers|needs CUDA",
}


@pytest.mark.parametrize("impl", [impl for impl in VARIANT.impls if impl not in HERE])
def test_a_kernel_that_is_not_here_says_what_it_needs(impl: str) -> None:
    attention = VARIANT.module(FullOptions(), causal=True, impl=impl, head_dim=8)
    with pytest.raises(Unsupported, match=REASONS[impl]):
        attention(*torch.randn(3, 1, 2, 5, 8))


def test_a_named_backend_runs_and_no_other_in_its_place() -> None:
    for impl in ("sdpa_math", "sdpa_flash"):
        attention = VARIANT.module(FullOptions(), causal=True, impl=impl, head_dim=8)
        tensors = torch.randn(3, 1, 2, 5, 8)
        with torch.no_grad():
            names = kernel_names(lambda a=attention, x=tensors: a(*x))
        assert require(impl, names) is not None
        with pytest.raises(WrongError):
            require("sdpa_flash" if impl == "sdpa_math" else "sdpa_math", names)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("impl", HERE)
def test_output_is_the_weighted_mean_of_allowed_values(impl: str, causal: bool) -> None:
    length, dim = 6, 4
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(2, 1, length, dim, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    expected = torch.zeros_like(v)
    for b in range(2):
        for i in range(length):
            keys = range(i + 1) if causal else range(length)
            weights = [math.exp(float(q[b, 0, i] @ k[b, 0, j]) / math.sqrt(dim)) for j in keys]
            for j in keys:
                expected[b, 0, i] += weights[j] / sum(weights) * v[b, 0, j]
    attention = VARIANT.module(FullOptions(), causal=causal, impl=impl, head_dim=dim)
    torch.testing.assert_close(attention(q, k, v), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("impl", HERE)
def test_first_causal_output_is_the_first_value(impl: str) -> None:
    q, k, v = (torch.randn(1, 2, 5, 8) for _ in range(3))
    attention = VARIANT.module(FullOptions(), causal=True, impl=impl, head_dim=8)
    torch.testing.assert_close(attention(q, k, v)[:, :, 0], v[:, :, 0])


@pytest.mark.parametrize("impl", HERE)
def test_crossing_attends_to_all_shown_keys_and_to_nothing_gives_zeros(impl: str) -> None:
    q, context = torch.randn(3, 2, 4, 8), torch.randn(2, 3, 2, 9, 8)
    mask = torch.ones(3, 9, dtype=torch.bool)
    mask[1, 4:], mask[2] = False, False
    attention = FullAttention(FullOptions(), causal=False, impl=impl, head_dim=8)
    found = attention.cross(q, *context, mask=mask)
    scores = (q @ context[0].mT) / math.sqrt(8)
    for row, shown in enumerate((9, 4)):
        expected = torch.softmax(scores[row, :, :, :shown], -1) @ context[1, row, :, :shown]
        torch.testing.assert_close(found[row], expected)
    assert not found[2].any()
    torch.testing.assert_close(attention.cross(q, *context), torch.softmax(scores, -1) @ context[1])


@pytest.mark.parametrize("impl", ["eager", "reference"])
def test_dropout_takes_normalised_weights_away_in_training_only(impl: str) -> None:
    options = FullOptions(attention_dropout=0.4)
    attention = VARIANT.module(options, causal=False, impl=impl, head_dim=4)
    q, k, v = torch.randn(3, 2, 3, 8, 4, dtype=torch.float64)
    weights = (q @ k.mT / 2).softmax(-1)
    torch.manual_seed(0)
    kept = torch.nn.functional.dropout(torch.ones_like(weights), 0.4)
    torch.manual_seed(0)
    torch.testing.assert_close(attention(q, k, v), (kept * weights) @ v)
    torch.testing.assert_close(attention.eval()(q, k, v), weights @ v)


def test_the_fused_kernel_drops_in_training_only() -> None:
    attention = VARIANT.module(
        FullOptions(attention_dropout=0.4), causal=True, impl="sdpa", head_dim=4
    )
    q, k, v = torch.randn(3, 2, 3, 8, 4)
    assert not torch.equal(attention(q, k, v), attention(q, k, v))
    attention.eval()
    assert torch.equal(attention(q, k, v), attention(q, k, v))


def test_impossible_dropout_is_refused() -> None:
    with pytest.raises(ValueError, match=r"attention_dropout: -0.1; at least 0 and below 1"):
        FullOptions(attention_dropout=-0.1)
