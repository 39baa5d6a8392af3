"""Linformer: keys and values projected along time to a fixed rank (Wang et al. 2020). O(N rank)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from models.kernels.dense import ROWS, attend_pairs
from models.kernels.padding import zero_padding
from models.variant import Attention, Cost, Shape, Unsupported, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class LinformerOptions:
    """The rank, and whether keys and values share their projection.

    Raises:
        ValueError: a value is impossible.
    """

    rank: int = 64  # projected keys, whatever the length
    shared: bool = True  # one projection for keys and values; the paper's "key-value sharing"

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank: {self.rank}; at least 1")


class LinformerAttention(Attention):
    """`softmax(Q (E K)^T / sqrt(d)) (F V)`, E and F `[rank, N]` ("Linformer", equation 7).

    E and F are parameters for the longest sequence, drawn from N(0, 1 / rank); all heads of a layer
    share them, and shorter sequences take their first columns. A projected key is a sum over all
    tokens: there is no causal form. Padding adds nothing to the sums.

    impls: `eager`; `reference`, the definition of softmax attention over the projected keys.

    Raises:
        Unsupported: nobody says how long sequences can be.
    """

    def __init__(
        self,
        options: LinformerOptions,
        *,
        causal: bool,
        impl: str,
        head_dim: int,
        max_len: int | None = None,
    ) -> None:
        super().__init__()
        if max_len is None:
            raise Unsupported("linformer: its projections have a column for each token: max_len")
        self.options = options
        self.causal = causal
        self.scale = 1 / math.sqrt(head_dim)
        drawn = [
            torch.randn(options.rank, max_len) / math.sqrt(options.rank)
            for _ in range(1 if options.shared else 2)
        ]
        self.project_keys = nn.Parameter(drawn[0])
        self.project_values = None if options.shared else nn.Parameter(drawn[1])
        self._attend = {"eager": self._eager, "reference": self._by_rows}[impl]

    def forward(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend.

        Raises:
            ValueError: the sequence is longer than the projections.
        """
        if q.shape[2] > self.project_keys.shape[1]:
            raise ValueError(
                f"linformer: {q.shape[2]} tokens; {self.project_keys.shape[1]} at most"
            )
        return zero_padding(self._attend(q, zero_padding(k, mask), zero_padding(v, mask)), mask)

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        rows: Int[Tensor, " r"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h r d"]:
        """Return some rows, in O((r + N) rank), whatever the impl."""
        keys, values = self._sums(zero_padding(k, mask), zero_padding(v, mask))
        out = self._pairs(q[:, :, rows], keys, values)
        return zero_padding(out, None if mask is None else mask[:, rows])

    def _matrices(self, length: int) -> tuple[Tensor, Tensor]:
        keys = self.project_keys
        values = keys if self.project_values is None else self.project_values
        return keys[:, :length], values[:, :length]

    def _sums(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = self._matrices(k.shape[2])
        return keys @ k, values @ v

    def _pairs(self, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        all_ = torch.ones(1, keys.shape[2], dtype=torch.bool, device=q.device)
        return attend_pairs(q, keys, values, all_.expand(q.shape[2], -1), scale=self.scale)

    def _by_rows(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = self._sums(k, v)
        return torch.cat([self._pairs(x, keys, values) for x in q.split(ROWS, dim=2)], dim=2)

    def _eager(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = self._sums(k, v)
        scores = (q @ keys.mT) * self.scale
        wide = torch.promote_types(q.dtype, torch.float32)
        return torch.softmax(scores, dim=-1, dtype=wide).to(v.dtype) @ values


def cost(options: LinformerOptions, shape: Shape, impl: str) -> Cost:  # noqa: ARG001 - all alike
    """Return the cost of one forward call; there is no decoding: the state is all keys, values."""
    n, sequences = shape.seq_len, shape.batch * shape.heads
    elements = sequences * n * shape.head_dim
    return Cost(
        model_flops=4 * shape.head_dim * sequences * shape.pairs,
        executed_flops=8 * elements * options.rank,
        compulsory_bytes=4 * elements * shape.itemsize,
        state_bytes=2 * elements * shape.itemsize,
    )


VARIANT = Variant(
    module=LinformerAttention,
    options=LinformerOptions,
    impls=("eager", "reference"),
    cost=cost,
    causal=False,
    exact=False,
    # Projected keys are sums over all tokens: scores grow with the length, and exp their errors.
    tolerance=5.0,
)
