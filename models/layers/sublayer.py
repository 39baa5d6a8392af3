"""What stands between two residual sums: normalise, compute, drop out; whole or in sections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Sublayer(nn.Module):
    """`dropout(inner(norm(x)))`, the pre-norm form (Xiong et al. 2020).

    A stack hands the same extra arguments (a mask, an encoder's output) to all its sublayers;
    `takes` names those that this one's inner module has a parameter for. None is not handed on.
    """

    def __init__(
        self,
        inner: nn.Module,
        *,
        d_model: int,
        dropout: float = 0.0,
        norm_eps: float = 1e-5,
        takes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model, eps=norm_eps)
        self.inner = inner
        self.dropout = nn.Dropout(dropout)
        self.takes = tuple(takes)

    def forward(self, x: Float[Tensor, "b t m"], **extras: Any) -> Float[Tensor, "b t m"]:
        """Return what is to be added to the residual stream."""
        taken = {name: extras[name] for name in self.takes if extras.get(name) is not None}
        return self.dropout(self.inner(self.norm(x), **taken))


class Sectioned(nn.Module):
    """Applies a position-wise module to sections of the sequence, one after the other.

    Same values as the module on the whole (Kitaev et al. 2020, section 3, "chunking"). In the
    backward each section is computed again, so the wide activations of one section at a time
    exist, in both directions. Dropout draws section by section. Extra arguments of a stack are not
    for position-wise modules and are left out.

    Raises:
        ValueError: the section is empty.
    """

    def __init__(self, inner: nn.Module, *, section: int) -> None:
        super().__init__()
        if section < 1:
            raise ValueError(f"section: {section}; a section has at least one token")
        self.inner = inner
        self.section = section

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the module in place, as `torch.compile` would; sections stay eager."""
        self.inner.compile(*args, **kwargs)

    def forward(self, x: Float[Tensor, "b t m"], **_extras: Any) -> Float[Tensor, "b t m"]:
        """Return the module's output."""
        if x.shape[1] <= self.section:
            return self.inner(x)
        sections = x.split(self.section, dim=1)
        if torch.is_grad_enabled():
            parts = [checkpoint(self.inner, part, use_reentrant=False) for part in sections]
        else:
            parts = [self.inner(part) for part in sections]
        return torch.cat(parts, dim=1)
