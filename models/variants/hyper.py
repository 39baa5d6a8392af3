"""HyperAttention: sorted LSH blocks and a sample of the rest (Han et al. 2024). O(N log N)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from models.kernels.dense import ROWS, attend_pairs
from models.kernels.padding import zero_padding
from models.kernels.parts import Parts, chosen
from models.kernels.sorted_blocks import SortedBlocks, attend_blocks, pairs, sort_blocks
from models.kernels.windows import PartialSoftmax, combine
from models.layers.replay import decide
from models.variant import Attention, Cost, Shape, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperOptions:
    """Sizes of blocks and samples; the authors' are 256, 256 and 4096 exact tokens.

    Raises:
        ValueError: a size is impossible.
    """

    block: int = 64  # sorted keys that a block of queries meets
    samples: int = 64  # keys that stand for all others
    exact: int = 128  # if causal: tokens, at most, that are attended exactly at the end of halving
    bits: int = 7  # planes of the hash
    seed: int = 0  # of planes and samples, the same for all heads

    def __post_init__(self) -> None:
        if min(self.block, self.samples, self.exact, self.bits) < 1:
            raise ValueError(f"{self}: block, samples, exact and bits are at least 1")

    def halvings(self, seq_len: int) -> int:
        """Return how often a causal sequence is halved."""
        return max(0, math.ceil(math.log2(seq_len / self.exact)))

    def filled(self, seq_len: int) -> int:
        """Return the length that can be halved so often."""
        parts = 2 ** self.halvings(seq_len)
        return -(-seq_len // parts) * parts


class HyperAttention(Attention):
    """`out_i = sum_j w_ij e^(q_i . k_j / sqrt(d)) v_j / sum_j w_ij e^(q_i . k_j / sqrt(d))`.

    Queries and keys are sorted by one hash; `w_ij` is 1 where both fall into the same block. The
    other keys are estimated by a uniform sample of all: a sampled key outside of the block weighs
    the number of keys outside over the number of samples outside, so both sums are without bias.
    The gradient is that of this sum, samples and order being fixed.

    If causal, the sequence is halved again and again: the second half meets the first in this way,
    and at the end parts of `exact` tokens at most are attended exactly. A query takes nothing from
    later values; which keys it meets depends on other queries of its part.

    impls: `sorted`; `reference`, the same weights over all pairs, some rows at a time.
    """

    routed = True

    def __init__(self, options: HyperOptions, *, causal: bool, impl: str, head_dim: int) -> None:
        super().__init__()
        self.options = options
        self.causal = causal
        self.scale = 1 / math.sqrt(head_dim)
        self._attend = {"sorted": self._sorted, "reference": self._by_rows}[impl]

    def forward(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend; inside a reversible stack the plan of the first run is used again."""
        filled = self._filled(q, k, v, mask)
        out = self._attend(*filled)[:, : q.shape[2]].view_as(v)
        return zero_padding(out, mask)

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        rows: Int[Tensor, " r"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h r d"]:
        """Return some rows by the definition, in O(r N) beside the sorting, whatever the impl."""
        qs, ks, vs, shown = self._filled(q, k, v, mask)
        plans = decide(lambda: self._plans(qs, ks, shown))
        out = self._rows(qs, ks, vs, shown, plans, rows).view(*q.shape[:2], len(rows), -1)
        return zero_padding(out, None if mask is None else mask[:, rows])

    def _filled(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return q (scaled), k, v as `[b h, T, d]` and which of these are tokens."""
        b, h, t, _ = q.shape
        fill = self.options.filled(t) - t if self.causal else 0
        shown = torch.ones(b, t, dtype=torch.bool, device=q.device) if mask is None else mask
        shown = pad(shown, (0, fill))[:, None].expand(b, h, -1).flatten(0, 1)
        q, k, v = (pad(x, (0, 0, 0, fill)).flatten(0, 1) for x in (q * self.scale, k, v))
        return q, k, v, shown

    def _plans(self, q: Tensor, k: Tensor, shown: Tensor) -> list[SortedBlocks]:
        """Return who meets whom: once, or on each level of halving."""
        return [
            sort_blocks(
                second.take(q),
                first.take(k),
                second.take(shown),
                first.take(shown),
                block=self.options.block,
                samples=self.options.samples,
                bits=self.options.bits,
                seed=self.options.seed + number,
            )
            for number, (first, second) in enumerate(self._levels(q.shape[1]))
        ]

    def _levels(self, length: int) -> Iterator[tuple[Parts, Parts]]:
        """Return, level by level, what takes the keys and what takes the queries of a level."""
        if not self.causal:
            yield Parts(count=1, half=None), Parts(count=1, half=None)
            return
        for level in range(self.options.halvings(length)):
            yield Parts(count=2**level, half=0), Parts(count=2**level, half=1)

    def _sorted(self, q: Tensor, k: Tensor, v: Tensor, shown: Tensor) -> Tensor:
        plans = decide(lambda: self._plans(q, k, shown))
        sums = [self._exactly(q, k, v, shown)] if self.causal else []
        for plan, (first, second) in zip(plans, self._levels(q.shape[1]), strict=True):
            part = attend_blocks(second.take(q), first.take(k), first.take(v), plan)
            sums.append(second.give_back(part))
        return combine(sums, torch.zeros_like(v))

    def _exactly(self, q: Tensor, k: Tensor, v: Tensor, shown: Tensor) -> PartialSoftmax:
        """Return the causal sums inside the smallest parts."""
        whole = Parts(count=2 ** self.options.halvings(q.shape[1]), half=None)
        wide = torch.promote_types(q.dtype, torch.float32)
        scores = (whole.take(q) @ whole.take(k).mT).to(wide)
        later = torch.ones(scores.shape[1:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(later | ~whole.take(shown)[:, None], -math.inf)
        top = scores.detach().amax(dim=-1)
        weights = (scores - top.masked_fill(top == -math.inf, 0).unsqueeze(-1)).exp()
        value = weights.to(v.dtype) @ whole.take(v)
        return whole.give_back(PartialSoftmax(top=top, total=weights.sum(dim=-1), value=value))

    def _by_rows(self, q: Tensor, k: Tensor, v: Tensor, shown: Tensor) -> Tensor:
        plans = decide(lambda: self._plans(q, k, shown))
        blocks = torch.arange(q.shape[1], device=q.device).split(ROWS)
        parts = [self._rows(q, k, v, shown, plans, block) for block in blocks]
        return torch.cat(parts, dim=1)

    def _rows(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        shown: Tensor,
        plans: list[SortedBlocks],
        rows: Tensor,
    ) -> Tensor:
        n, length, _ = q.shape
        weights = q.new_zeros(n, len(rows), length)
        keys = torch.arange(length, device=q.device)
        if self.causal:
            size = length // 2 ** self.options.halvings(length)
            same = (keys // size == rows[:, None] // size) & (keys <= rows[:, None])
            weights = weights + (same & shown[:, None]).to(q.dtype)
        for plan, (first, second) in zip(plans, self._levels(length), strict=True):
            part, place, exists = second.find(rows, length)
            met = plan.weights(place.expand(len(plan.shown), -1)).unflatten(0, (n, -1))
            met = met * (chosen(part, second.count) & exists[:, None])  # [n, parts, rows, keys]
            weights = weights + first.spread(met).to(q.dtype)
        bias = weights.log()
        out = attend_pairs(
            q[None, :, rows], k[None], v[None], (weights > 0)[None], scale=1.0, bias=bias[None]
        )
        return out[0]


def cost(options: HyperOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call; there is no short way to decode: the state is all."""
    n, d, sequences = shape.seq_len, shape.head_dim, shape.batch * shape.heads
    filled, levels = n, 1
    met = pairs(queries=n, keys=n, block=options.block, samples=options.samples)
    if shape.causal:
        filled, levels = options.filled(n), options.halvings(n)
        met = filled * (filled // 2**levels)
        for level in range(levels):
            half = filled // 2 ** (level + 1)
            met += 2**level * pairs(
                queries=half, keys=half, block=options.block, samples=options.samples
            )
    hashing = sequences * 2 * d * options.bits * levels * filled * (1 if shape.causal else 2)
    elements = sequences * n * d
    return Cost(
        model_flops=4 * d * sequences * shape.pairs,
        executed_flops=4 * d * sequences * (met if impl == "sorted" else filled**2) + hashing,
        forward_only_flops=hashing,
        compulsory_bytes=4 * elements * shape.itemsize,
        state_bytes=3 * elements * shape.itemsize,
    )


VARIANT = Variant(
    module=HyperAttention,
    options=HyperOptions,
    impls=("sorted", "reference"),
    cost=cost,
    causal=True,
    exact=False,
)
