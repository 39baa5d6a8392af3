"""Grouped-query attention: heads share keys and values (Ainslie et al. 2023). O(N^2) time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from models.kernels.cache import Growing
from models.kernels.dense import ROWS, attend_pairs
from models.kernels.padding import extended, permute_heads, tokens_first, zero_padding
from models.variant import Attention, Cost, Shape, Variant, check_causal


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedQueryOptions:
    """How many heads keys and values have.

    Raises:
        ValueError: none.
    """

    kv_heads: int = 1  # a divisor of the heads; 1 is multi-query attention (Shazeer 2019)

    def __post_init__(self) -> None:
        if self.kv_heads < 1:
            raise ValueError(f"kv_heads: {self.kv_heads}; at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedQueryState:
    """All keys and values, of fewer heads."""

    k: Growing
    v: Growing
    mask: Bool[Tensor, "b t"] | None


class GroupedQueryAttention(Attention):
    """`softmax(Q_h K_g^T / sqrt(d)) V_g` for each head h of group g = h // (heads / kv_heads).

    The network projects `kv_heads` keys and values, so it has fewer parameters and the cache of
    decoding is as much smaller.

    impls: `sdpa`, PyTorch's fused kernel with `enable_gqa`; `eager`, the queries of a group as rows
    of one product with its keys; `reference`, full attention with the keys and values repeated.
    """

    def __init__(
        self, options: GroupedQueryOptions, *, causal: bool, impl: str, head_dim: int
    ) -> None:
        super().__init__()
        self.options = options
        self.causal = causal
        self.impl = impl
        self.kv_heads = options.kv_heads
        self.scale = 1 / math.sqrt(head_dim)
        self._attend = {"sdpa": self._sdpa, "eager": self._eager, "reference": self._by_rows}[impl]

    def forward(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b g t d"],
        v: Float[Tensor, "b g t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend."""
        return zero_padding(self._attend(q, k, v, mask), mask)

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b g t d"],
        v: Float[Tensor, "b g t d"],
        rows: Int[Tensor, " r"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h r d"]:
        """Return some rows by the definition, in O(r N), whatever the impl."""
        keys = torch.arange(k.shape[2], device=q.device)
        allowed = keys <= rows[:, None] if self.causal else (keys >= 0).expand(len(rows), -1)
        allowed = allowed if mask is None else allowed & mask[:, None, None, :]
        k, v = self._repeated(q, k), self._repeated(q, v)
        out = attend_pairs(q[:, :, rows], k, v, allowed, scale=self.scale)
        return zero_padding(out, None if mask is None else mask[:, rows])

    def cross(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b g s d"],
        v: Float[Tensor, "b g s d"],
        mask: Bool[Tensor, "b s"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend to all keys that the mask shows; zeros where it shows none."""
        return self._fused(q, k, v, mask)

    def begin(
        self,
        q: Float[Tensor, "b h t d"],  # noqa: ARG002 - queries are not asked again
        k: Float[Tensor, "b g t d"],
        v: Float[Tensor, "b g t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> GroupedQueryState:
        """Keep all keys and values."""
        check_causal(self)
        return GroupedQueryState(k=Growing.of(k), v=Growing.of(v), mask=mask)

    def step(
        self,
        q: Float[Tensor, "b h 1 d"],
        k: Float[Tensor, "b g 1 d"],
        v: Float[Tensor, "b g 1 d"],
        state: GroupedQueryState,
    ) -> tuple[Float[Tensor, "b h 1 d"], GroupedQueryState]:
        """Attend from one token more: O(N)."""
        state = GroupedQueryState(
            k=state.k.append(k), v=state.v.append(v), mask=extended(state.mask)
        )
        return self._fused(q, state.k.tensor, state.v.tensor, state.mask), state

    def reorder(self, state: GroupedQueryState, rows: Int[Tensor, " r"]) -> GroupedQueryState:
        """Return the state of these rows of the batch; a row may come several times."""
        mask = None if state.mask is None else state.mask[rows]
        return GroupedQueryState(k=state.k.select(rows), v=state.v.select(rows), mask=mask)

    def _repeated(self, q: Tensor, x: Tensor) -> Tensor:
        return x.repeat_interleave(q.shape[1] // x.shape[1], dim=1)

    def _by_rows(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        blocks = torch.arange(q.shape[2], device=q.device).split(ROWS)
        return torch.cat([self.rows(q, k, v, block, mask) for block in blocks], dim=2)

    def _eager(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        b, h, t, d = q.shape
        grouped = q.reshape(b, k.shape[1], -1, d)  # the queries of a group, one head after another
        scores = (grouped @ k.mT * self.scale).view(b, h, t, t)
        if self.causal:
            later = torch.ones(t, t, dtype=torch.bool, device=q.device).triu(1)
            scores = scores.masked_fill(later, -math.inf)
        if mask is not None:
            hidden = mask[:, None, :, None] & ~mask[:, None, None, :]  # no row is all -inf
            scores = scores.masked_fill(hidden, -math.inf)
        wide = torch.promote_types(q.dtype, torch.float32)
        weights = torch.softmax(scores, dim=-1, dtype=wide).to(v.dtype)
        return (weights.view(b, k.shape[1], -1, t) @ v).view(b, h, t, d)

    def _sdpa(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None or not self.causal:
            return self._fused(q, k, v, mask, causal=self.causal)
        # With the tokens first, causality hides the padding from them: no N x N mask is needed.
        order, place = tokens_first(mask)
        q, k, v = (permute_heads(x, order, place) for x in (q, k, v))
        return permute_heads(self._fused(q, k, v, None, causal=True), place, order)

    def _fused(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, causal: bool = False
    ) -> Tensor:
        if mask is None:
            return functional.scaled_dot_product_attention(
                q, k, v, is_causal=causal, enable_gqa=True
            )
        nothing = ~mask.any(dim=1)[:, None, None, None]
        out = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask[:, None, None, :] | nothing, enable_gqa=True
        )
        return out.masked_fill(nothing, 0)


def cost(options: GroupedQueryOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call: that of full attention; bytes of fewer keys."""
    per_pair = 4 * shape.head_dim * shape.heads * shape.batch
    per_head = shape.batch * shape.seq_len * shape.head_dim * shape.itemsize
    return Cost(
        model_flops=per_pair * shape.pairs,
        executed_flops=per_pair * (shape.pairs if impl == "sdpa" else shape.seq_len**2),
        compulsory_bytes=2 * (shape.heads + options.kv_heads) * per_head,
        state_bytes=2 * options.kv_heads * per_head,
    )


VARIANT = Variant(
    module=GroupedQueryAttention,
    options=GroupedQueryOptions,
    impls=("sdpa", "eager", "reference"),
    cost=cost,
    causal=True,
    exact=True,
)
