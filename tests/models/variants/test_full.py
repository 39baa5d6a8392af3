"""Full attention against its formula written out."""

import math

import pytest
import torch

from models.variants.full import VARIANT, FullOptions


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("impl", VARIANT.impls)
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


@pytest.mark.parametrize("impl", VARIANT.impls)
def test_first_causal_output_is_the_first_value(impl: str) -> None:
    q, k, v = (torch.randn(1, 2, 5, 8) for _ in range(3))
    attention = VARIANT.module(FullOptions(), causal=True, impl=impl, head_dim=8)
    torch.testing.assert_close(attention(q, k, v)[:, :, 0], v[:, :, 0])
