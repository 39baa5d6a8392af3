"""The keys of attention with shared queries and keys."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def unit_keys(q: Float[Tensor, "*n t d"]) -> Float[Tensor, "*n t d"]:
    """Return `q / |q|`, with the authors' guard against zero: `|q|^2 + 1e-6 d`."""
    wide = q.to(torch.promote_types(q.dtype, torch.float32))
    square = wide.square().sum(dim=-1, keepdim=True) + 1e-6 * q.shape[-1]
    return (wide * square.rsqrt()).to(q.dtype)


def scaled_unit_keys(q: Float[Tensor, "*n t d"], scale: float) -> Float[Tensor, "*n t d"]:
    """Return `scale * unit_keys(q)`, and keep nothing but q for the backward."""
    return _UnitKeys.apply(q, scale)


class _UnitKeys(torch.autograd.Function):
    """`k = scale u`, `u = q r`, `r = (|q|^2 + eps)^(-1/2)`; `dq = scale r (dk - u (u . dk))`."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(q)
        ctx.scale = scale
        wide, inverse = _inverse_norm(q)
        return (wide * (inverse * scale)).to(q.dtype)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - the base has any number
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor, None]:
        (q,) = ctx.saved_tensors  # read once: activation checkpointing unpacks no tensor twice
        wide, inverse = _inverse_norm(q)
        unit, grad = wide * inverse, grad.to(wide.dtype)
        along = (unit * grad).sum(dim=-1, keepdim=True)
        return (grad - unit.mul_(along)).mul_(inverse * ctx.scale).to(q.dtype), None


def _inverse_norm(q: Tensor) -> tuple[Tensor, Tensor]:
    wide = q.to(torch.promote_types(q.dtype, torch.float32))
    norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    return wide, norm.square_().add_(1e-6 * q.shape[-1]).rsqrt_()
