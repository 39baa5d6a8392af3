"""What stands between two residual sums: normalise, compute, drop out; whole or in sections."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Sublayer(nn.Module):
    """`dropout(inner(norm(x)))`, the pre-norm form (Xiong et al. 2020)."""

    def __init__(self, inner: nn.Module, *, d_model: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.inner = inner
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "b t m"]) -> Float[Tensor, "b t m"]:
        """Return what is to be added to the residual stream."""
        return self.dropout(self.inner(self.norm(x)))


class Sectioned(nn.Module):
    """Applies a position-wise module to sections of the sequence, one after the other.

    Same values as the module on the whole (Kitaev et al. 2020, section 3, "chunking"). In the
    backward each section is computed again, so the wide activations of one section at a time
    exist, in both directions. Dropout draws section by section.
    """

    def __init__(self, inner: nn.Module, *, section: int) -> None:
        super().__init__()
        if section < 1:
            raise ValueError(f"section: {section}; a section has at least one token")
        self.inner = inner
        self.section = section

    def forward(self, x: Float[Tensor, "b t m"]) -> Float[Tensor, "b t m"]:
        """Return the module's output."""
        if x.shape[1] <= self.section:
            return self.inner(x)
        sections = x.split(self.section, dim=1)
        if torch.is_grad_enabled():
            parts = [checkpoint(self.inner, part, use_reentrant=False) for part in sections]
        else:
            parts = [self.inner(part) for part in sections]
        return torch.cat(parts, dim=1)
