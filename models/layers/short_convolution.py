"""A short convolution of each feature by itself: every token hears of the few beside it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class ShortConvolution(nn.Module):
    """`y_t = x_t + sum_i w_i * x_(t-i)`, `*` feature by feature, over `width` tokens.

    Causal: i = 0 ... width - 1. Otherwise the token stands in their middle. Recall asks for what
    stood beside a key. Without the convolution a network needs a layer that does nothing but look
    one token aside; with it, one layer of attention is enough (Arora et al. 2023, "Zoology", and
    the state-space models before it). Padding would be heard by the tokens beside it.

    Raises:
        ValueError: it is less than one token wide.
    """

    def __init__(self, *, d_model: int, width: int, causal: bool) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"conv: {width}; a convolution is at least one token wide")
        self.earlier = width - 1 if causal else width // 2
        self.later = width - 1 - self.earlier
        self.weight = nn.Parameter(torch.empty(d_model, 1, width))
        nn.init.uniform_(self.weight, -(width**-0.5), width**-0.5)

    def forward(self, x: Float[Tensor, "b t m"]) -> Float[Tensor, "b t m"]:
        """Add to each token what it hears."""
        wide = functional.pad(x.transpose(1, 2), (self.earlier, self.later))
        heard = functional.conv1d(wide, self.weight.to(x.dtype), groups=x.shape[-1])
        return x + heard.transpose(1, 2)
