"""Full attention with shared queries and keys: a control, what LSH approximates. O(N^2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.kernels.dense import ROWS, attend_pairs
from models.kernels.padding import zero_padding
from models.kernels.unit_keys import unit_keys
from models.variant import Attention, Cost, Shape, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedQKOptions:
    """The scale of the scores.

    Raises:
        ValueError: there is no such scale.
    """

    logit_scale: Literal["unit", "sqrt_d"] = "unit"  # q . k/|k|; or that / sqrt(d)

    def __post_init__(self) -> None:
        if self.logit_scale not in {"unit", "sqrt_d"}:
            raise ValueError(f"logit_scale: {self.logit_scale!r}; allowed: 'unit', 'sqrt_d'")


class SharedQKAttention(Attention):
    """Softmax attention of vectors with themselves over all pairs (Kitaev et al. 2020, section 2).

    q is the shared vector of query and key, k is ignored; keys are `q_j / |q_j|`. A token meets
    itself only if it meets no other. LSH attention does the same over the pairs that it finds: with
    a chunk as long as the sequence the two are equal.

    impls: `eager`, all rows at once; `reference`, the same some rows at a time.
    """

    shared_qk = True

    def __init__(self, options: SharedQKOptions, *, causal: bool, impl: str, head_dim: int) -> None:
        super().__init__()
        self.options = options
        self.causal = causal
        self.scale = 1 / math.sqrt(head_dim) if options.logit_scale == "sqrt_d" else 1.0
        self._attend = {"eager": self._eager, "reference": self._by_rows}[impl]

    def forward(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],  # noqa: ARG002 - the shared vectors are q
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend."""
        return zero_padding(self._attend(q, v, mask), mask)

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],  # noqa: ARG002 - the shared vectors are q
        v: Float[Tensor, "b h t d"],
        rows: Int[Tensor, " r"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h r d"]:
        """Return some rows by the definition, in O(r N), whatever the impl."""
        allowed = self._allowed(rows, q.shape[2], mask)
        out = attend_pairs(q[:, :, rows], unit_keys(q), v, allowed, scale=self.scale)
        out = torch.where(allowed.any(dim=-1, keepdim=True), out, v[:, :, rows])
        return zero_padding(out, None if mask is None else mask[:, rows])

    def _by_rows(self, q: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        blocks = torch.arange(q.shape[2], device=q.device).split(ROWS)
        return torch.cat([self.rows(q, q, v, block, mask) for block in blocks], dim=2)

    def _eager(self, q: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return self.rows(q, q, v, torch.arange(q.shape[2], device=q.device), mask)

    def _allowed(self, rows: Tensor, length: int, mask: Tensor | None) -> Tensor:
        """Return `[1 or b, 1, rows, keys]`: every token but oneself, none later if causal."""
        keys = torch.arange(length, device=rows.device)
        allowed = keys < rows[:, None] if self.causal else keys != rows[:, None]
        allowed = allowed[None, None]
        return allowed if mask is None else allowed & mask[:, None, None, :]


def cost(_options: SharedQKOptions, shape: Shape, _impl: str) -> Cost:
    """Return the cost of one forward call: the whole square."""
    per_pair = 4 * shape.head_dim * shape.heads * shape.batch
    elements = shape.batch * shape.heads * shape.seq_len * shape.head_dim
    return Cost(
        model_flops=per_pair * shape.pairs,
        executed_flops=per_pair * shape.seq_len**2,
        compulsory_bytes=3 * elements * shape.itemsize,
        state_bytes=2 * elements * shape.itemsize,
    )


VARIANT = Variant(
    module=SharedQKAttention,
    options=SharedQKOptions,
    impls=("eager", "reference"),
    cost=cost,
    causal=True,
    exact=False,  # of softmax attention with keys of their own: a token does not meet itself
)
