"""Exact softmax attention over all pairs (Vaswani et al. 2017). O(N^2) time."""

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
from models.layers.fused import BACKENDS, PACKAGED, only
from models.variant import Attention, Cost, Shape, Unsupported, Variant, check_causal

SQUARE = frozenset({"eager", "sdpa_math", "reference"})  # impls that compute all N^2 pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class FullOptions:
    """What is left to choose.

    Raises:
        ValueError: a value is impossible.
    """

    attention_dropout: float = 0.0  # share of normalised weights that training sets to zero

    def __post_init__(self) -> None:
        if not 0 <= self.attention_dropout < 1:
            raise ValueError(f"attention_dropout: {self.attention_dropout}; at least 0 and below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class FullState:
    """What full attention keeps while decoding: everything."""

    k: Growing
    v: Growing
    mask: Bool[Tensor, "b t"] | None


class FullAttention(Attention):
    """`softmax(Q K^T / sqrt(d)) V`, with `-inf` above the diagonal if causal, and at padded keys.

    impls: `sdpa`, the fused kernel that PyTorch chooses; `sdpa_math`, `sdpa_flash`,
    `sdpa_efficient`, `sdpa_cudnn`, that one of its kernels and no other; `flex`, `flash_attn`,
    `xformers`, see `models.layers.fused`; `eager`, two matrix products around a softmax that
    materialise the N x N scores; `reference`, the definition, some rows at a time.
    """

    def __init__(self, options: FullOptions, *, causal: bool, impl: str, head_dim: int) -> None:
        super().__init__()
        self.options = options
        self.causal = causal
        self.impl = impl
        self.scale = 1 / math.sqrt(head_dim)
        self._attend = {"eager": self._eager, "reference": self._by_rows}.get(impl, self._sdpa)

    def forward(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend."""
        return zero_padding(self._attend(q, k, v, mask), mask)

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        rows: Int[Tensor, " r"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h r d"]:
        """Return some rows by the definition, in O(r N), whatever the impl."""
        allowed = self._allowed(rows, q.shape[2], mask)
        out = self._pairs(q[:, :, rows], k, v, allowed)
        return zero_padding(out, None if mask is None else mask[:, rows])

    def cross(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h s d"],
        v: Float[Tensor, "b h s d"],
        mask: Bool[Tensor, "b s"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend to all keys that the mask shows; zeros where it shows none."""
        if not self.impl.startswith("sdpa"):  # kernels of within a sequence cross by definition
            shown = torch.ones_like(k[:, 0, :, 0], dtype=torch.bool) if mask is None else mask
            return self._pairs(q, k, v, shown[:, None, None].expand(-1, 1, q.shape[2], -1))
        return self._fused(q, k, v, mask)

    def begin(
        self,
        q: Float[Tensor, "b h t d"],  # noqa: ARG002 - queries are not asked again
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> FullState:
        """Keep all keys and values."""
        check_causal(self)
        return FullState(k=Growing.of(k), v=Growing.of(v), mask=mask)

    def step(
        self,
        q: Float[Tensor, "b h 1 d"],
        k: Float[Tensor, "b h 1 d"],
        v: Float[Tensor, "b h 1 d"],
        state: FullState,
    ) -> tuple[Float[Tensor, "b h 1 d"], FullState]:
        """Attend from one token more: O(N)."""
        state = FullState(k=state.k.append(k), v=state.v.append(v), mask=extended(state.mask))
        return self.cross(q, state.k.tensor, state.v.tensor, state.mask), state

    def reorder(self, state: FullState, rows: Int[Tensor, " r"]) -> FullState:
        """Return the state of these rows of the batch; a row may come several times."""
        mask = None if state.mask is None else state.mask[rows]
        return FullState(k=state.k.select(rows), v=state.v.select(rows), mask=mask)

    @property
    def _dropout(self) -> float:
        return self.options.attention_dropout if self.training else 0.0

    def _allowed(self, rows: Tensor, length: int, mask: Tensor | None) -> Bool[Tensor, "*b r t"]:
        keys = torch.arange(length, device=rows.device)
        allowed = keys <= rows[:, None] if self.causal else (keys >= 0).expand(len(rows), -1)
        return allowed if mask is None else allowed & mask[:, None, None, :]

    def _pairs(self, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
        return attend_pairs(q, k, v, allowed, scale=self.scale, dropout=self._dropout)

    def _by_rows(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        blocks = torch.arange(q.shape[2], device=q.device).split(ROWS)
        return torch.cat([self.rows(q, k, v, block, mask) for block in blocks], dim=2)

    def _eager(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        scores = (q @ k.mT) * self.scale
        if self.causal or mask is not None:
            allowed = self._allowed(torch.arange(q.shape[2], device=q.device), q.shape[2], mask)
            if mask is not None:
                allowed = allowed | ~mask[:, None, :, None]  # no row of padding is all -inf
            scores = scores.masked_fill(~allowed, -math.inf)
        wide = torch.promote_types(q.dtype, torch.float32)
        weights = torch.softmax(scores, dim=-1, dtype=wide)
        if self._dropout:
            weights = functional.dropout(weights, self._dropout)
        return weights.to(v.dtype) @ v

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
        if self.impl in BACKENDS:
            with only(self.impl, q.device):
                return self._dispatched(q, k, v, mask, causal=causal)
        if self.impl in PACKAGED:
            if mask is not None:
                raise Unsupported(f"{self.impl}: bidirectional, it takes no padding here")
            kernel = PACKAGED[self.impl]
            return kernel(q, k, v, causal=causal, scale=self.scale, dropout=self._dropout)
        return self._dispatched(q, k, v, mask, causal=causal)

    def _dispatched(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, causal: bool
    ) -> Tensor:
        if mask is None:
            return functional.scaled_dot_product_attention(
                q, k, v, is_causal=causal, dropout_p=self._dropout
            )
        nothing = ~mask.any(dim=1)[:, None, None, None]
        out = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask[:, None, None, :] | nothing, dropout_p=self._dropout
        )
        return out.masked_fill(nothing, 0)


def cost(_options: FullOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call.

    `eager`, `sdpa_math` and `reference` compute the whole square, causal or not. The others are
    counted with the exact pairs: fused kernels leave out the blocks above the diagonal, and the
    halves of blocks on the diagonal that they compute in vain are not counted.
    """
    per_pair = 4 * shape.head_dim * shape.heads * shape.batch
    elements = shape.batch * shape.heads * shape.seq_len * shape.head_dim
    return Cost(
        model_flops=per_pair * shape.pairs,
        executed_flops=per_pair * (shape.seq_len**2 if impl in SQUARE else shape.pairs),
        compulsory_bytes=4 * elements * shape.itemsize,
        state_bytes=2 * elements * shape.itemsize,
    )


VARIANT = Variant(
    module=FullAttention,
    options=FullOptions,
    impls=(
        "sdpa",
        "sdpa_math",
        "sdpa_flash",
        "sdpa_efficient",
        "sdpa_cudnn",
        "flex",
        "flash_attn",
        "xformers",
        "eager",
        "reference",
    ),
    cost=cost,
    causal=True,
    exact=True,
)
