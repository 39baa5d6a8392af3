"""LSH attention: each query meets the keys that hash near it (Kitaev et al. 2020). O(N log N)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.kernels.dense import ROWS, attend_pairs
from models.kernels.lsh_plan import (
    LSHPlan,
    bucket_factors,
    hash_flops,
    look_up,
    make_plan,
    times_met,
    whole_sequence,
)
from models.kernels.permute import permute
from models.kernels.windows import PartialSoftmax, Rule, Window, attend_windows, combine
from models.layers.replay import decide
from models.variant import Attention, Cost, Shape, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class LSHOptions:
    """How to hash and whom to meet.

    Raises:
        ValueError: a value is impossible.
    """

    hashes: int = 4  # rounds
    chunk: int = 64  # tokens of the sorted sequence that attend together
    buckets: int | Sequence[int] | None = None  # count or even factors; None: 2 N / chunk
    before: int = 1  # earlier chunks of the sorted sequence that a chunk sees
    after: int = 0  # later chunks
    logit_scale: Literal["unit", "sqrt_d"] = (
        "unit"  # q . k/|k| as the authors' code; or that / sqrt(d)
    )
    same_bucket: bool = False  # meet only keys of the own bucket
    count_once: bool = False  # a key that n rounds offer counts once, not n times (appendix A)
    seed: int = 0  # of the rotations

    def __post_init__(self) -> None:
        if self.buckets is not None and not isinstance(self.buckets, int):
            object.__setattr__(self, "buckets", tuple(self.buckets))
        if self.hashes < 1 or self.chunk < 1 or self.before < 0 or self.after < 0:
            raise ValueError(f"{self}: hashes, chunk are at least 1, before, after at least 0")
        if any(f < 2 or f % 2 for f in self.factors(1)):
            raise ValueError(
                f"buckets: {self.buckets}; a bucket count or factor is even and at least 2"
            )
        if self.logit_scale not in {"unit", "sqrt_d"}:
            raise ValueError(f"logit_scale: {self.logit_scale!r}; allowed: 'unit', 'sqrt_d'")

    @property
    def window(self) -> Window:
        """The chunks that a chunk of the sorted sequence sees."""
        return Window(chunk=self.chunk, before=self.before, after=self.after)

    def factors(self, seq_len: int) -> list[int]:
        """Return the factors of the bucket count for a length."""
        return bucket_factors(self.buckets, seq_len, self.chunk)

    def rounds(self, seq_len: int) -> int:
        """Return the rounds for a length: what fits into one chunk needs no hash and one round."""
        return self.hashes if seq_len > self.chunk else 1


class LSHAttention(Attention):
    """Softmax attention of vectors with themselves, over the keys that hashing brings near.

    q is the shared vector of query and key, k is ignored; keys are `q_j / |q_j|`. In each round the
    tokens are sorted by (bucket, position) and cut into chunks; a query meets the keys of its
    chunk and of `before` and `after` chunks beside it, never across the ends. The rounds' sums are
    added in float32 as one softmax: without `count_once`, a key met in n rounds weighs n times.
    A token meets itself only if no round offers it any other key. A sequence of at most one
    chunk is attended exactly.

    If causal, a query takes nothing from later values. The later tokens do move the borders of
    the chunks, so *which* earlier keys it meets depends on them, as in every chunked LSH.

    impls: `chunked`, blocks of chunk x window, memory linear in N; `reference`, the same sums
    over all pairs, `+ log n` for a key met n times, some rows at a time.
    """

    shared_qk = True

    def __init__(self, options: LSHOptions, *, causal: bool, impl: str, head_dim: int) -> None:
        super().__init__()
        self.options = options
        self.causal = causal
        self.scale = 1 / math.sqrt(head_dim) if options.logit_scale == "sqrt_d" else 1.0
        self._attend = {"chunked": self._chunked, "reference": self._by_rows}[impl]

    def forward(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],  # noqa: ARG002 - the shared vectors are q
        v: Float[Tensor, "b h t d"],
    ) -> Float[Tensor, "b h t d"]:
        """Attend; inside a reversible stack the plan of the first run is used again."""
        return self.attend(q, v, decide(lambda: self.plan(q)))

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],  # noqa: ARG002 - the shared vectors are q
        v: Float[Tensor, "b h t d"],
        rows: Int[Tensor, " r"],
    ) -> Float[Tensor, "b h r d"]:
        """Return some rows by the definition, in O(r N) beside the hash, whatever the impl."""
        return self._rows(q, unit_keys(q), v, rows, decide(lambda: self.plan(q)))

    def plan(self, q: Float[Tensor, "b h t d"]) -> LSHPlan:
        """Hash the shared vectors and sort them."""
        length = q.shape[2]
        if length <= self.options.chunk:
            return whole_sequence(q)
        return make_plan(
            q,
            rounds=self.options.hashes,
            factors=self.options.factors(length),
            seed=self.options.seed,
        )

    def attend(
        self, q: Float[Tensor, "b h t d"], v: Float[Tensor, "b h t d"], plan: LSHPlan
    ) -> Float[Tensor, "b h t d"]:
        """Attend by a given plan."""
        return self._attend(q, v, plan)

    def _by_rows(self, q: Tensor, v: Tensor, plan: LSHPlan) -> Tensor:
        k = unit_keys(q)
        blocks = torch.arange(q.shape[2], device=q.device).split(ROWS)
        return torch.cat([self._rows(q, k, v, block, plan) for block in blocks], dim=2)

    def _rows(self, q: Tensor, k: Tensor, v: Tensor, rows: Tensor, plan: LSHPlan) -> Tensor:
        keys = torch.arange(q.shape[2], device=q.device)
        times = self._times_met(plan, rows.view(1, -1, 1), keys.view(1, 1, -1))
        times = times.unflatten(0, q.shape[:2])
        allowed = (times > 0) & (keys != rows[:, None])
        if self.causal:
            allowed = allowed & (keys <= rows[:, None])
        bias = None if self.options.count_once else times.clamp(min=1).to(q.dtype).log()
        out = attend_pairs(q[:, :, rows], k, v, allowed, scale=self.scale, bias=bias)
        return torch.where(allowed.any(dim=-1, keepdim=True), out, v[:, :, rows])

    def _chunked(self, q: Tensor, v: Tensor, plan: LSHPlan) -> Tensor:
        b, h, t, d = q.shape
        k = unit_keys(q).reshape(-1, t, d)
        q, values = (q * self.scale).reshape(-1, t, d), v.reshape(-1, t, d)
        window = self.options.window.clipped(t)
        rounds: list[PartialSoftmax] = []
        for r in range(plan.rounds):
            order, place = plan.order[:, :, r].flatten(0, 1), plan.place[:, :, r].flatten(0, 1)
            part = attend_windows(
                permute(q, order, place),
                permute(k, order, place),
                permute(values, order, place),
                order,
                window,
                self._rule(plan, r),
            )
            rounds.append(_unsort(part, order, place))
        return combine(rounds, values).view(b, h, t, d)

    def _rule(self, plan: LSHPlan, r: int) -> Rule:
        length = plan.place.shape[-1]

        def rule(scores: Tensor, i: Tensor, j: Tensor) -> Tensor:
            # Whatever fills up the windows has position `length`: later than any query.
            forbidden = j >= i if self.causal else (j == i) | (j == length)
            if self.options.same_bucket:
                bucket = plan.bucket[:, :, r]
                forbidden |= look_up(bucket, i) != look_up(bucket, j)
            if self.options.count_once:
                scores -= self._times_met(plan, i, j).clamp_(min=1).to(scores.dtype).log_()
            return scores.masked_fill_(forbidden, -math.inf)

        return rule

    def _times_met(self, plan: LSHPlan, i: Tensor, j: Tensor) -> Tensor:
        window = self.options.window.clipped(plan.place.shape[-1])
        return times_met(plan, i, j, window, same_bucket=self.options.same_bucket)


def unit_keys(q: Float[Tensor, "b h t d"]) -> Float[Tensor, "b h t d"]:
    """Return `q / |q|`, with the authors' guard against zero: `|q|^2 + 1e-6 d`."""
    wide = q.to(torch.promote_types(q.dtype, torch.float32))
    square = wide.square().sum(dim=-1, keepdim=True) + 1e-6 * q.shape[-1]
    return (wide * square.rsqrt()).to(q.dtype)


def _unsort(part: PartialSoftmax, order: Tensor, place: Tensor) -> PartialSoftmax:
    return PartialSoftmax(
        top=part.top.gather(1, place.long()),
        total=part.total.gather(1, place.long()),
        value=permute(part.value, place, order),
    )


def cost(options: LSHOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call: the hash, and each round's chunks x windows.

    Sorting counts no FLOPs. `reference` computes the whole square beside the hash.
    """
    n, sequences = shape.seq_len, shape.batch * shape.heads
    elements = sequences * n * shape.head_dim
    rounds = options.rounds(n)
    hashing = 0
    if n > options.chunk:
        hashing = shape.batch * hash_flops(
            heads=shape.heads,
            seq_len=n,
            dim=shape.head_dim,
            rounds=rounds,
            factors=options.factors(n),
        )
    pairs = rounds * options.window.pairs(n) if impl == "chunked" else n * n
    return Cost(
        model_flops=4 * shape.head_dim * sequences * shape.pairs,
        executed_flops=4 * shape.head_dim * sequences * pairs + hashing,
        forward_only_flops=hashing,
        compulsory_bytes=3 * elements * shape.itemsize,
        state_bytes=2 * elements * shape.itemsize + 4 * sequences * n * rounds,  # and the buckets
    )


VARIANT = Variant(
    module=LSHAttention,
    options=LSHOptions,
    impls=("chunked", "reference"),
    cost=cost,
    causal=True,
    exact=False,
)
