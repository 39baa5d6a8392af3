"""Softmax attention over explicitly given pairs: the definition that fast impls are held to."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

ROWS = 256  # queries per step: bounds the score matrix of a whole sequence


def attend_pairs(
    q: Float[Tensor, "b h r d"],
    k: Float[Tensor, "b h t d"],
    v: Float[Tensor, "b h t d"],
    allowed: Bool[Tensor, "*#bh r t"],
    *,
    scale: float,
    bias: Float[Tensor, "*#bh r t"] | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "b h r d"]:
    """Return `out_i = sum_j w_ij v_j / sum_j w_ij`, `w_ij = exp(scale q_i . k_j + bias_ij)`.

    The sums run over the allowed pairs; a query without any gets zeros. Dropout takes terms out of
    the first sum and not of the second: it acts on normalised weights.
    """
    scores = (q @ k.mT) * scale
    if bias is not None:
        scores = scores + bias
    scores = scores.masked_fill(~allowed, -math.inf)
    top = scores.detach().amax(dim=-1, keepdim=True)
    weights = torch.exp(scores - top.masked_fill(top == -math.inf, 0))
    total = weights.sum(dim=-1, keepdim=True)
    kept = functional.dropout(weights, dropout) if dropout else weights
    return kept @ v / total.masked_fill(total == 0, 1)
