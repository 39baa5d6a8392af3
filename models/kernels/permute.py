"""Reordering of sequences whose gradient is a reordering too, not a scattered sum."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable


def permute(
    x: Float[Tensor, "n t d"], order: Int[Tensor, "n t"], inverse: Int[Tensor, "n t"]
) -> Float[Tensor, "n t d"]:
    """Return `y[i] = x[order[i]]` for each sequence; `inverse` is the inverse of `order`."""
    return _Permute.apply(x, order, inverse)


class _Permute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return _take(x, order)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - the base has any number
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor, None, None]:
        return _take(grad, ctx.saved_tensors[0]), None, None


def _take(x: Tensor, order: Tensor) -> Tensor:
    n, t, d = x.shape
    starts = torch.arange(n, device=x.device).unsqueeze(-1) * t
    return x.reshape(n * t, d).index_select(0, (order + starts).flatten()).view(n, t, d)
