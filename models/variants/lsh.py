"""LSH attention: each query meets the keys that hash near it (Kitaev et al. 2020). O(N log N)."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.kernels import lsh_dispatch
from models.kernels.cache import Growing
from models.kernels.dense import ROWS
from models.kernels.lsh_cache import LSHState, SortedRounds
from models.kernels.lsh_definition import attend_rows
from models.kernels.lsh_options import LSHOptions
from models.kernels.lsh_plan import (
    LSHPlan,
    draw_rotations,
    hash_flops,
    make_plan,
    whole_sequence,
)
from models.kernels.padding import extended, zero_padding
from models.layers.replay import decide
from models.variant import Attention, Cost, Shape, Variant, check_causal

AUTO, REFERENCE = "auto", "reference"  # impls that are no module of `lsh_dispatch`
RECOMPUTING = ("auto", "chunked", "compiled")  # compute scores again, and not in one kernel
STRIDE = 0x9E3779B1  # between the seeds of successive draws: odd, and far from any layer's seed


class LSHAttention(Attention):
    """Softmax attention of vectors with themselves, over the keys that hashing brings near.

    q is the shared vector of query and key, k is ignored; keys are `q_j / |q_j|`. In each round the
    tokens are sorted by (bucket, position) and cut into chunks; a query meets the keys of its
    chunk and of `before` and `after` chunks beside it, never across the ends. The rounds' sums are
    added in float32 as one softmax: without `count_once`, a key met in n rounds weighs n times.
    A token meets itself only if no round offers it any other key. A sequence of at most one
    chunk is attended exactly. Padding sorts behind all tokens and gets zeros.

    If causal, a query takes nothing from later values. The later tokens do move the borders of
    the chunks, so *which* earlier keys it meets depends on them, as in every chunked LSH: another
    last token changed 721 of 1023 earlier outputs (random vectors, defaults). With `strict` none:
    in each round a query meets the last `before * chunk` keys before it in its own bucket, and the
    bucket count is fixed. That takes 4 to 7 % more time, and for 4096 clustered vectors the keys
    met had 0.30, 0.33, 0.69 of the mass of exact attention in place of 0.36, 0.39, 0.72.

    Rotations are the seed's; with `redraw`, training draws new ones at each forward, as the
    authors do, and the number of draws is part of the module's state.

    impls: `chunked`, blocks of chunk x window with a backward of its own, memory linear in N;
    `compiled`, the same on a CPU with bodies that torch.compile fuses; `triton`, in fused kernels
    on CUDA; `flex`, by FlexAttention on CUDA; `reference`, the same sums over all pairs,
    `+ log n` for a key met n times, some rows at a time. `auto` chooses at each call by device,
    length and head dimension, and `ran` tells what it chose.

    Raises:
        ValueError: `strict` and not causal.
        Unsupported: this machine cannot run the impl.
    """

    shared_qk = True

    def __init__(self, options: LSHOptions, *, causal: bool, impl: str, head_dim: int) -> None:
        super().__init__()
        if options.strict and not causal:
            raise ValueError("strict: causality is asked for and the attention is bidirectional")
        self.options = options
        self.causal = causal
        self.scale = 1 / math.sqrt(head_dim) if options.logit_scale == "sqrt_d" else 1.0
        self.impl = impl
        self.ran: str | None = None  # the impl of the last call: what `auto` stood for
        self._drawn: tuple[tuple[Any, ...], Tensor] | None = None
        if impl not in {AUTO, REFERENCE}:
            lsh_dispatch.find(impl)
        if options.redraw:
            self.register_buffer("draws", torch.zeros((), dtype=torch.int64))

    def forward(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],  # noqa: ARG002 - the shared vectors are q
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
        *,
        rotations: Float[Tensor, "h d r f"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend; inside a reversible stack the plan of the first run is used again.

        `rotations` are those of each head and round, half as many columns as the factors of the
        bucket count add up to; None: drawn from the seed.
        """
        plan = decide(lambda: self.plan(q, mask, rotations))
        return self.attend(q, v, plan, mask)

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],  # noqa: ARG002 - the shared vectors are q
        v: Float[Tensor, "b h t d"],
        rows: Int[Tensor, " r"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h r d"]:
        """Return some rows by the definition, in O(r N) beside the hash, whatever the impl."""
        plan = decide(lambda: self.plan(q, mask))
        out = self._rows(q, v, rows, plan, mask)
        return zero_padding(out, None if mask is None else mask[:, rows])

    def plan(
        self,
        q: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
        rotations: Float[Tensor, "h d r f"] | None = None,
    ) -> LSHPlan:
        """Hash the shared vectors and sort them."""
        length = q.shape[2]
        if not self.options.hashed(length):
            return whole_sequence(q)
        if rotations is None:
            rotations = self._draw(q, self._seed())
        return make_plan(q, rotations, self.options.factors(length), mask)

    def attend(
        self,
        q: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        plan: LSHPlan,
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend by a given plan.

        Raises:
            Unsupported: the impl cannot compute this call; the message says why.
        """
        if self.impl == REFERENCE:
            out = self._by_rows(q, v, plan, mask)
        else:
            out = self._planned(q, v, plan, mask)
        return zero_padding(out, mask)

    def begin(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],  # noqa: ARG002 - the shared vectors are q
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> LSHState:
        """Keep vectors and values, and the sorted order of each round by the seed's rotations."""
        check_causal(self)
        rounds = self._sort(q, mask)
        return LSHState(shared=Growing.of(q), values=Growing.of(v), mask=mask, rounds=rounds)

    def step(
        self,
        q: Float[Tensor, "b h 1 d"],
        k: Float[Tensor, "b h 1 d"],  # noqa: ARG002 - the shared vectors are q
        v: Float[Tensor, "b h 1 d"],
        state: LSHState,
    ) -> tuple[Float[Tensor, "b h 1 d"], LSHState]:
        """Attend from one token more; equal to the last row of `forward` over all tokens.

        The token is inserted into each round's order. Where the bucket count follows the length,
        every `chunk` tokens it changes, and all are hashed again. By default (not `strict`) the
        outputs of earlier tokens, which are kept as they were, might be others in that forward.
        """
        shared, values = state.shared.append(q), state.values.append(v)
        mask, length = extended(state.mask), shared.length
        if self._factors(length) == state.rounds.factors:
            rounds = state.rounds.insert(q)
        else:
            rounds = self._sort(shared.tensor, mask)
        state = LSHState(shared=shared, values=values, mask=mask, rounds=rounds)
        out = state.attend(
            q,
            self.options.neighbours(length),
            scale=self.scale,
            count_once=self.options.count_once,
            dropout=self._dropout,
        )
        return out, state

    def reorder(self, state: LSHState, rows: Int[Tensor, " r"]) -> LSHState:
        """Return the state of these rows of the batch; a row may come several times."""
        return state.select(rows)

    def _seed(self) -> int:
        if not (self.options.redraw and self.training):
            return self.options.seed
        self.draws += 1
        return (self.options.seed + STRIDE * int(self.draws)) % 2**32

    def _draw(self, q: Tensor, seed: int) -> Tensor:
        # Kept until another is asked for: drawing anew would make a CUDA device wait for the CPU.
        factors = self.options.factors(q.shape[2])
        key = (seed, q.device, q.shape[1], q.shape[3], tuple(factors))
        if self._drawn is None or self._drawn[0] != key:
            rotations = draw_rotations(
                heads=q.shape[1],
                dim=q.shape[3],
                rounds=self.options.hashes,
                factors=factors,
                seed=seed,
            )
            self._drawn = (key, rotations.to(q.device))
        return self._drawn[1]

    def _factors(self, length: int) -> list[int]:
        return self.options.factors(length) if self.options.hashed(length) else []

    def _sort(self, q: Tensor, mask: Tensor | None) -> SortedRounds:
        factors = self._factors(q.shape[2])
        rotations = self._draw(q, self.options.seed) if factors else None
        return SortedRounds.of(self.plan(q, mask, rotations), factors, rotations)

    def _by_rows(self, q: Tensor, v: Tensor, plan: LSHPlan, mask: Tensor | None) -> Tensor:
        blocks = torch.arange(q.shape[2], device=q.device).split(ROWS)
        return torch.cat([self._rows(q, v, block, plan, mask) for block in blocks], dim=2)

    def _rows(
        self, q: Tensor, v: Tensor, rows: Tensor, plan: LSHPlan, mask: Tensor | None
    ) -> Tensor:
        return attend_rows(q, v, rows, plan, mask, self.options, **self._how)

    def _planned(self, q: Tensor, v: Tensor, plan: LSHPlan, mask: Tensor | None) -> Tensor:
        call = lsh_dispatch.Call.of(q, mask, causal=self.causal, dropout=self._dropout)
        name = self.impl if self.impl != AUTO else lsh_dispatch.choose(call, self.options)
        self.ran = name
        impl = lsh_dispatch.require(name, call, self.options)
        return impl.attend(q, v, plan, mask, self.options, **self._how)

    @property
    def _how(self) -> dict[str, Any]:
        return {"causal": self.causal, "scale": self.scale, "dropout": self._dropout}

    @property
    def _dropout(self) -> float:
        return self.options.attention_dropout if self.training else 0.0


def cost(options: LSHOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call: the hash, and each round's chunks x windows.

    Sorting counts no FLOPs. `reference` computes the whole square beside the hash, the others
    compute the scores again in the backward.
    """
    n, sequences = shape.seq_len, shape.batch * shape.heads
    elements = sequences * n * shape.head_dim
    rounds = options.rounds(n)
    hashing = 0
    if options.hashed(n):
        hashing = shape.batch * hash_flops(
            heads=shape.heads,
            seq_len=n,
            dim=shape.head_dim,
            rounds=rounds,
            factors=options.factors(n),
        )
    pairs = n * n if impl == REFERENCE else rounds * options.window.pairs(n)
    products = 2 * shape.head_dim * sequences * pairs
    return Cost(
        model_flops=4 * shape.head_dim * sequences * shape.pairs,
        executed_flops=2 * products + hashing,
        forward_only_flops=hashing,
        recomputed_flops=products if impl in RECOMPUTING else 0,
        compulsory_bytes=3 * elements * shape.itemsize,
        state_bytes=2 * elements * shape.itemsize + 8 * sequences * n * rounds,  # order, buckets
    )


def choose(
    options: LSHOptions, shape: Shape, *, device: str, dtype: torch.dtype, training: bool
) -> str:
    """Return the impl that `auto` stands for."""
    call = lsh_dispatch.Call(
        device=device,
        dtype=dtype,
        sequences=shape.batch * shape.heads,
        seq_len=shape.seq_len,
        head_dim=shape.head_dim,
        causal=shape.causal,
        masked=False,
        dropout=options.attention_dropout if training else 0.0,
        gradients=training,
    )
    return lsh_dispatch.choose(call, options)


VARIANT = Variant(
    module=LSHAttention,
    options=LSHOptions,
    impls=("chunked", "compiled", "triton", "flex", "reference"),
    choose=choose,
    cost=cost,
    causal=True,
    exact=False,
)
