"""A short causal convolution of each feature by itself: every token hears of the few before it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class ShortConvolution(nn.Module):
    """`y_t = x_t + sum_i w_i * x_(t-i)`, `i = 0 ... width - 1`, `*` feature by feature.

    Recall asks for what follows a key. Without it a network needs a layer that does nothing but
    look one token back; with it, one layer of attention is enough (Arora et al. 2023, "Zoology",
    and the state-space models before it). Tokens hear of none after them; padding that stands on
    the left would be heard.

    Raises:
        ValueError: it is less than one token wide.
    """

    def __init__(self, *, d_model: int, width: int) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"conv: {width}; a convolution is at least one token wide")
        self.width = width
        self.weight = nn.Parameter(torch.empty(d_model, 1, width))
        nn.init.uniform_(self.weight, -(width**-0.5), width**-0.5)

    def forward(self, x: Float[Tensor, "b t m"]) -> Float[Tensor, "b t m"]:
        """Add to each token what it hears."""
        early = functional.pad(x.transpose(1, 2), (self.width - 1, 0))
        heard = functional.conv1d(early, self.weight.to(x.dtype), groups=x.shape[-1])
        return x + heard.transpose(1, 2)
