"""Near, global and random blocks of keys (Longformer 2020, BigBird: Zaheer et al. 2020). O(N)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from models.kernels.block_pattern import BlockPattern
from models.kernels.cache import Growing
from models.kernels.dense import ROWS, attend_pairs
from models.kernels.padding import extended, zero_padding
from models.variant import Attention, Cost, Shape, Variant, check_causal


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalLocalOptions:
    """Blocks that a block sees. Longformer draws none; BigBird 3 at random, 2 global.

    Raises:
        ValueError: a size is impossible.
    """

    block: int = 64  # tokens
    near: int = 1  # blocks on each side; if causal, before only
    global_blocks: int = 1  # first blocks of the sequence: they see all and are seen by all
    random_blocks: int = 1  # drawn for each block
    seed: int = 0  # of the drawn blocks, the same for all heads

    def __post_init__(self) -> None:
        if self.block < 1 or min(self.near, self.global_blocks, self.random_blocks) < 0:
            raise ValueError(f"{self}: block is at least 1, the others are at least 0")

    def pattern(self, *, causal: bool) -> BlockPattern:
        """Return who sees whom."""
        return BlockPattern(
            near=self.near,
            globals=self.global_blocks,
            random=self.random_blocks,
            seed=self.seed,
            causal=causal,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalLocalState:
    """All keys and values: a later block may draw any of them."""

    k: Growing
    v: Growing
    mask: Bool[Tensor, "b t"] | None


class GlobalLocalAttention(Attention):
    """`softmax(Q K^T / sqrt(d)) V` over the keys of the blocks that a query's block sees.

    If causal, all of these and no later key; the global blocks then see what is before them.
    There is no fall-back to full attention where a sequence is short: the pattern covers it then.

    impls: `blocks`, the seen blocks gathered, the global rows apart; `reference`, the definition
    over all pairs, some rows at a time.
    """

    def __init__(
        self, options: GlobalLocalOptions, *, causal: bool, impl: str, head_dim: int
    ) -> None:
        super().__init__()
        self.options = options
        self.causal = causal
        self.pattern = options.pattern(causal=causal)
        self.scale = 1 / math.sqrt(head_dim)
        self._attend = {"blocks": self._blocks, "reference": self._by_rows}[impl]

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
        out = self._pairs(q[:, :, rows], k, v, rows, mask)
        return zero_padding(out, None if mask is None else mask[:, rows])

    def begin(
        self,
        q: Float[Tensor, "b h t d"],  # noqa: ARG002 - queries are not asked again
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> GlobalLocalState:
        """Keep all keys and values."""
        check_causal(self)
        return GlobalLocalState(k=Growing.of(k), v=Growing.of(v), mask=mask)

    def step(
        self,
        q: Float[Tensor, "b h 1 d"],
        k: Float[Tensor, "b h 1 d"],
        v: Float[Tensor, "b h 1 d"],
        state: GlobalLocalState,
    ) -> tuple[Float[Tensor, "b h 1 d"], GlobalLocalState]:
        """Attend from one token more: scores of all keys, O(N)."""
        state = GlobalLocalState(
            k=state.k.append(k), v=state.v.append(v), mask=extended(state.mask)
        )
        row = torch.tensor([state.k.length - 1], device=q.device)
        return self._pairs(q, state.k.tensor, state.v.tensor, row, state.mask), state

    def reorder(self, state: GlobalLocalState, rows: Int[Tensor, " r"]) -> GlobalLocalState:
        """Return the state of these rows of the batch; a row may come several times."""
        mask = None if state.mask is None else state.mask[rows]
        return GlobalLocalState(k=state.k.select(rows), v=state.v.select(rows), mask=mask)

    def _pairs(self, q: Tensor, k: Tensor, v: Tensor, rows: Tensor, mask: Tensor | None) -> Tensor:
        size, t = self.options.block, k.shape[2]
        keys = torch.arange(t, device=rows.device)
        allowed = self.pattern.matrix(rows // size, -(-t // size))[:, keys // size]
        if self.causal:
            allowed = allowed & (keys <= rows[:, None])
        allowed = allowed.unsqueeze(0)
        if mask is not None:
            allowed = allowed & mask[:, None, None, :]
        return attend_pairs(q, k, v, allowed, scale=self.scale)

    def _by_rows(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        blocks = torch.arange(q.shape[2], device=q.device).split(ROWS)
        return torch.cat([self.rows(q, k, v, block, mask) for block in blocks], dim=2)

    def _blocks(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        size, t = self.options.block, q.shape[2]
        first = min(self.options.global_blocks * size, t)
        rows = torch.arange(first, device=q.device)
        parts = [self._pairs(q[:, :, :first], k, v, rows, mask)] if first else []
        if first < t:
            parts.append(self._gathered(q, k, v, mask))
        return torch.cat(parts, dim=2)

    def _gathered(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Return the rows behind the global blocks."""
        size, t, first = self.options.block, q.shape[2], self.options.global_blocks
        fill = -t % size
        q, k, v = (pad(x, (0, 0, 0, fill)).unflatten(2, (-1, size)) for x in (q, k, v))
        count = k.shape[2]
        slots, valid = self.pattern.seen(torch.arange(first, count, device=q.device), count)
        places = torch.arange(t + fill, device=q.device).view(count, size)
        allowed = valid[:, None, :, None] & (places < t)[slots][:, None]  # [c, 1, slots, size]
        if self.causal:
            allowed = allowed & (places[slots][:, None] <= places[first:, :, None, None])
        allowed = allowed.flatten(2)[None, None]
        if mask is not None:
            shown = pad(mask, (0, fill)).view(-1, 1, count, size)
            allowed = allowed & shown[:, :, slots].flatten(3)[:, :, :, None]
        wide = torch.promote_types(q.dtype, torch.float32)
        scores = (q[:, :, first:] @ k[:, :, slots].flatten(3, 4).mT).to(wide) * self.scale
        scores = scores.masked_fill(~allowed, -math.inf)
        top = scores.detach().amax(dim=-1, keepdim=True)
        weights = torch.exp(scores - top.masked_fill(top == -math.inf, 0))
        total = weights.sum(dim=-1, keepdim=True)  # zero: padding only
        weights = (weights / total.masked_fill(total == 0, 1)).to(v.dtype)
        out = weights @ v[:, :, slots].flatten(3, 4)
        return out.flatten(2, 3)[:, :, : t - first * size]


def cost(options: GlobalLocalOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call; `blocks` computes void slots, too."""
    n, per_pair = shape.seq_len, 4 * shape.head_dim * shape.heads * shape.batch
    first = min(n, options.global_blocks * options.block)
    blocks = max(0, -(-n // options.block) - options.global_blocks)
    slots = options.pattern(causal=shape.causal).slots
    pairs = first * n + blocks * slots * options.block**2
    elements = shape.batch * shape.heads * n * shape.head_dim
    return Cost(
        model_flops=per_pair * shape.pairs,
        executed_flops=per_pair * (pairs if impl == "blocks" else n * n),
        compulsory_bytes=4 * elements * shape.itemsize,
        state_bytes=2 * elements * shape.itemsize,
    )


VARIANT = Variant(
    module=GlobalLocalAttention,
    options=GlobalLocalOptions,
    impls=("blocks", "reference"),
    cost=cost,
    causal=True,
    exact=False,
)
