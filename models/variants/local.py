"""Local attention: each chunk sees itself and its neighbours (Kitaev et al. 2020). O(N) time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.kernels import chunk_attention, compiled_bodies
from models.kernels.dense import ROWS, attend_pairs
from models.kernels.local_layout import LocalLayout
from models.kernels.padding import tokens_first, zero_padding
from models.kernels.windows import Window
from models.variant import Attention, Cost, Shape, Unsupported, Variant, check_causal


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """Size of the neighbourhood, and dropout.

    Raises:
        ValueError: a size is impossible.
    """

    chunk: int = 64  # tokens
    before: int = 1  # earlier chunks that a chunk sees
    after: int | None = None  # later chunks; None: none if causal, else as many as before
    attention_dropout: float = 0.0  # share of normalised weights that training sets to zero

    def __post_init__(self) -> None:
        if self.chunk < 1 or self.before < 0 or (self.after or 0) < 0:
            raise ValueError(f"{self}: chunk is at least 1, before and after are at least 0")
        if not 0 <= self.attention_dropout < 1:
            raise ValueError(f"attention_dropout: {self.attention_dropout}; at least 0 and below 1")

    def window(self, *, causal: bool) -> Window:
        """Return the window of a chunk.

        Raises:
            ValueError: later chunks are asked for, and causality forbids them.
        """
        if causal and self.after:
            raise ValueError(f"after={self.after}: causal local attention sees no later chunk")
        after = (0 if causal else self.before) if self.after is None else self.after
        return Window(chunk=self.chunk, before=self.before, after=after)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalState:
    """What local attention keeps while decoding: as many tokens as a window can hold."""

    k: Float[Tensor, "b h s d"]  # the n-th token of a row has slot n mod s
    v: Float[Tensor, "b h s d"]
    count: Int[Tensor, " b"]  # tokens of each row, padding not counted


class LocalAttention(Attention):
    """`softmax(Q K^T / sqrt(d)) V` over the keys of the neighbouring chunks; the ends do not meet.

    Chunks are cut from the tokens, padding left out: wherever it stands, it changes nothing.

    impls: `chunked`, blocks of chunk x window with a backward of its own, memory linear in N;
    `compiled`, the same with bodies that torch.compile fuses, on a CPU; `reference`, the definition
    over all pairs with the same neighbourhoods, some rows at a time.

    Raises:
        Unsupported: this machine cannot compile.
    """

    def __init__(self, options: LocalOptions, *, causal: bool, impl: str, head_dim: int) -> None:
        super().__init__()
        self.options = options
        self.causal = causal
        self.window = options.window(causal=causal)
        self.scale = 1 / math.sqrt(head_dim)
        self.impl = impl
        reason = compiled_bodies.missing() if impl == "compiled" else None
        if reason is not None:
            raise Unsupported(f"compiled: {reason}")

    def forward(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend.

        Raises:
            Unsupported: the impl cannot run on this device.
        """
        attend = self._by_rows if self.impl == "reference" else self._chunked
        return zero_padding(attend(q, k, v, mask), mask)

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        rows: Int[Tensor, " r"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h r d"]:
        """Return some rows by the definition, in O(r N), whatever the impl."""
        shown = torch.ones_like(q[:1, 0, :, 0], dtype=torch.bool) if mask is None else mask
        chunk = (shown.cumsum(dim=1) - 1) // self.window.chunk
        apart = chunk[:, None, :] - chunk[:, rows, None]
        allowed = (apart >= -self.window.before) & (apart <= self.window.after)
        allowed &= shown[:, None, :]
        if self.causal:
            allowed &= torch.arange(q.shape[2], device=rows.device) <= rows[:, None]
        allowed = allowed.unsqueeze(1)
        out = attend_pairs(q[:, :, rows], k, v, allowed, scale=self.scale, dropout=self._dropout)
        return zero_padding(out, None if mask is None else mask[:, rows])

    def begin(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> LocalState:
        """Keep the last tokens of each row."""
        check_causal(self)
        b, h, t, d = q.shape
        shown = torch.ones(b, t, dtype=torch.bool, device=q.device) if mask is None else mask
        order, _ = tokens_first(shown)
        count = shown.sum(dim=1)
        last = self._held(count - 1).clamp(min=0)  # what no token has yet is never allowed
        kept = order.gather(1, last)[:, None, :, None].expand(b, h, -1, d)
        return LocalState(k=k.detach().gather(2, kept), v=v.detach().gather(2, kept), count=count)

    def step(
        self,
        q: Float[Tensor, "b h 1 d"],
        k: Float[Tensor, "b h 1 d"],
        v: Float[Tensor, "b h 1 d"],
        state: LocalState,
    ) -> tuple[Float[Tensor, "b h 1 d"], LocalState]:
        """Attend from one token more: O(1); equal to the last row of `forward` over all tokens."""
        number, slots = state.count, state.k.shape[2]
        slot = (number % slots)[:, None, None, None].expand_as(k)
        keys = state.k.scatter(2, slot, k.detach())
        values = state.v.scatter(2, slot, v.detach())
        chunk = self.window.chunk
        first = ((number // chunk - self.window.before) * chunk).clamp(min=0)
        allowed = (self._held(number) >= first[:, None])[:, None, None]
        wide = torch.promote_types(q.dtype, torch.float32)
        out = attend_pairs(
            q.to(wide),
            keys.to(wide),
            values.to(wide),
            allowed,
            scale=self.scale,
            dropout=self._dropout,
        )
        return out.to(v.dtype), LocalState(k=keys, v=values, count=number + 1)

    def reorder(self, state: LocalState, rows: Int[Tensor, " r"]) -> LocalState:
        """Return the state of these rows of the batch; a row may come several times."""
        return LocalState(k=state.k[rows], v=state.v[rows], count=state.count[rows])

    @property
    def _dropout(self) -> float:
        return self.options.attention_dropout if self.training else 0.0

    def _held(self, newest: Int[Tensor, " b"]) -> Int[Tensor, "b s"]:
        """Return the number of the token in each slot; below zero where there is none."""
        slots = torch.arange((self.window.before + 1) * self.window.chunk, device=newest.device)
        return newest[:, None] - (newest[:, None] - slots) % len(slots)

    def _by_rows(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        blocks = torch.arange(q.shape[2], device=q.device).split(ROWS)
        return torch.cat([self.rows(q, k, v, block, mask) for block in blocks], dim=2)

    def _chunked(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        bodies = chunk_attention.EAGER
        if self.impl == "compiled":
            reason = compiled_bodies.refuse(q.device.type)
            if reason is not None:
                raise Unsupported(f"compiled: {reason}")
            bodies = compiled_bodies.COMPILED
        layout = LocalLayout(q, mask, self.window, heads=q.shape[1], causal=self.causal)
        plan = chunk_attention.Plan(
            layout=layout, bodies=bodies, dropout=self._dropout, alone=False
        )
        q, k, flat = ((q * self.scale).flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1))
        return chunk_attention.attend(q, k, flat, plan).view(v.shape)


def cost(options: LocalOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call.

    `chunked` computes whole chunks against whole windows, also where the mask or the fill-up of
    the last chunk throws scores away, and the scores again in the backward; `reference` computes
    the whole square.
    """
    n, per_pair = shape.seq_len, 4 * shape.head_dim * shape.heads * shape.batch
    elements = shape.batch * shape.heads * n * shape.head_dim
    window = options.window(causal=shape.causal)
    kept = min(n, (window.before + 1) * window.chunk)
    return Cost(
        model_flops=per_pair * shape.pairs,
        executed_flops=per_pair * (n * n if impl == "reference" else window.pairs(n)),
        recomputed_flops=0 if impl == "reference" else per_pair // 2 * window.pairs(n),
        compulsory_bytes=4 * elements * shape.itemsize,
        state_bytes=2 * shape.batch * shape.heads * kept * shape.head_dim * shape.itemsize,
    )


VARIANT = Variant(
    module=LocalAttention,
    options=LocalOptions,
    impls=("chunked", "compiled", "reference"),
    cost=cost,
    causal=True,
    exact=False,
)
