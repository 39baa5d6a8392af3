"""Local attention: each chunk sees itself and its neighbours (Kitaev et al. 2020). O(N) time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.kernels.dense import ROWS, attend_pairs
from models.kernels.windows import Rule, Window, attend_windows
from models.variant import Attention, Cost, Shape, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """Size of the neighbourhood.

    Raises:
        ValueError: a size is impossible.
    """

    chunk: int = 64  # tokens
    before: int = 1  # earlier chunks that a chunk sees
    after: int | None = None  # later chunks; None: none if causal, else as many as before

    def __post_init__(self) -> None:
        if self.chunk < 1 or self.before < 0 or (self.after or 0) < 0:
            raise ValueError(f"{self}: chunk is at least 1, before and after are at least 0")

    def window(self, *, causal: bool) -> Window:
        """Return the window of a chunk.

        Raises:
            ValueError: later chunks are asked for, and causality forbids them.
        """
        if causal and self.after:
            raise ValueError(f"after={self.after}: causal local attention sees no later chunk")
        after = (0 if causal else self.before) if self.after is None else self.after
        return Window(chunk=self.chunk, before=self.before, after=after)


class LocalAttention(Attention):
    """`softmax(Q K^T / sqrt(d)) V` over the keys of the neighbouring chunks; the ends do not meet.

    impls: `chunked`, blocks of chunk x window, memory linear in N; `reference`, the definition
    over all pairs with the same neighbourhoods, some rows at a time.
    """

    def __init__(self, options: LocalOptions, *, causal: bool, impl: str, head_dim: int) -> None:
        super().__init__()
        self.options = options
        self.causal = causal
        self.window = options.window(causal=causal)
        self.scale = 1 / math.sqrt(head_dim)
        self._attend = {"chunked": self._chunked, "reference": self._by_rows}[impl]

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
        apart = keys // self.window.chunk - rows[:, None] // self.window.chunk
        near = (apart >= -self.window.before) & (apart <= self.window.after)
        return near & (keys <= rows[:, None]) if self.causal else near

    def _by_rows(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        blocks = torch.arange(q.shape[2], device=q.device).split(ROWS)
        return torch.cat([self.rows(q, k, v, block) for block in blocks], dim=2)

    def _chunked(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        b, h, t, _ = q.shape
        positions = torch.arange(t, device=q.device).expand(b * h, t)
        part = attend_windows(
            (q * self.scale).flatten(0, 1),
            k.flatten(0, 1),
            v.flatten(0, 1),
            positions,
            self.window,
            self._rule(t),
        )
        return (part.value / part.total.unsqueeze(-1)).to(v.dtype).view_as(v)

    def _rule(self, length: int) -> Rule:
        def rule(scores: Tensor, i: Tensor, j: Tensor) -> Tensor:
            i, j = i[:1], j[:1]  # all heads have the same positions: one mask serves them
            forbidden = (j > i) | (j == length) if self.causal else j == length
            return scores.masked_fill_(forbidden, -math.inf)

        return rule


def cost(options: LocalOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call.

    `chunked` computes whole chunks against whole windows, also where the mask or the fill-up of
    the last chunk throws scores away; `reference` computes the whole square.
    """
    n, per_pair = shape.seq_len, 4 * shape.head_dim * shape.heads * shape.batch
    elements = shape.batch * shape.heads * n * shape.head_dim
    window = options.window(causal=shape.causal)
    kept = min(n, (window.before + 1) * window.chunk)
    return Cost(
        model_flops=per_pair * shape.pairs,
        executed_flops=per_pair * (window.pairs(n) if impl == "chunked" else n * n),
        compulsory_bytes=4 * elements * shape.itemsize,
        state_bytes=2 * shape.batch * shape.heads * kept * shape.head_dim * shape.itemsize,
    )


VARIANT = Variant(
    module=LocalAttention,
    options=LocalOptions,
    impls=("chunked", "reference"),
    cost=cost,
    causal=True,
    exact=False,
)
