"""The keys of attention with shared queries and keys."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def unit_keys(q: Float[Tensor, "b h t d"]) -> Float[Tensor, "b h t d"]:
    """Return `q / |q|`, with the authors' guard against zero: `|q|^2 + 1e-6 d`."""
    wide = q.to(torch.promote_types(q.dtype, torch.float32))
    square = wide.square().sum(dim=-1, keepdim=True) + 1e-6 * q.shape[-1]
    return (wide * square.rsqrt()).to(q.dtype)
