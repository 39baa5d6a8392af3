"""Exact softmax attention over all pairs (Vaswani et al. 2017). O(N^2) time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from models.kernels.dense import ROWS, attend_pairs
from models.variant import Attention, Cost, Shape, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class FullOptions:
    """Full attention has no options."""


class FullAttention(Attention):
    """`softmax(Q K^T / sqrt(d)) V`, with `-inf` above the diagonal if causal.

    impls: `sdpa`, PyTorch's fused kernel; `eager`, two matrix products around a softmax that
    materialise the N x N scores; `reference`, the definition, some rows at a time.
    """

    def __init__(self, options: FullOptions, *, causal: bool, impl: str, head_dim: int) -> None:
        super().__init__()
        self.options = options
        self.causal = causal
        self.scale = 1 / math.sqrt(head_dim)
        self._attend = {"sdpa": self._sdpa, "eager": self._eager, "reference": self._by_rows}[impl]

    def forward(
        self, q: Float[Tensor, "b h t d"], k: Float[Tensor, "b h t d"], v: Float[Tensor, "b h t d"]
    ) -> Float[Tensor, "b h t d"]:
        """Attend."""
        return self._attend(q, k, v)

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        rows: Int[Tensor, " r"],
    ) -> Float[Tensor, "b h r d"]:
        """Return some rows by the definition, in O(r N), whatever the impl."""
        allowed = self._allowed(rows, q.shape[2])
        return attend_pairs(q[:, :, rows], k, v, allowed, scale=self.scale)

    def _allowed(self, rows: Int[Tensor, " r"], length: int) -> Bool[Tensor, "r t"]:
        keys = torch.arange(length, device=rows.device)
        return keys <= rows[:, None] if self.causal else (keys >= 0).expand(len(rows), -1)

    def _by_rows(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        blocks = torch.arange(q.shape[2], device=q.device).split(ROWS)
        return torch.cat([self.rows(q, k, v, block) for block in blocks], dim=2)

    def _eager(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = (q @ k.mT) * self.scale
        if self.causal:
            allowed = self._allowed(torch.arange(q.shape[2], device=q.device), q.shape[2])
            scores = scores.masked_fill(~allowed, -math.inf)
        wide = torch.promote_types(q.dtype, torch.float32)
        return torch.softmax(scores, dim=-1, dtype=wide).to(v.dtype) @ v

    def _sdpa(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return scaled_dot_product_attention(q, k, v, is_causal=self.causal)


def cost(_options: FullOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call.

    `eager` and `reference` compute the whole square, causal or not. `sdpa` is counted with the
    exact pairs: fused kernels leave out the blocks above the diagonal, and the halves of blocks
    on the diagonal that they compute in vain are not counted.
    """
    per_pair = 4 * shape.head_dim * shape.heads * shape.batch
    elements = shape.batch * shape.heads * shape.seq_len * shape.head_dim
    return Cost(
        model_flops=per_pair * shape.pairs,
        executed_flops=per_pair * (shape.pairs if impl == "sdpa" else shape.seq_len**2),
        compulsory_bytes=4 * elements * shape.itemsize,
        state_bytes=2 * elements * shape.itemsize,
    )


VARIANT = Variant(
    module=FullAttention,
    options=FullOptions,
    impls=("sdpa", "eager", "reference"),
    cost=cost,
    causal=True,
    exact=True,
)
