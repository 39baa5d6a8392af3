"""Who meets whom, as the Triton kernels see it: the rule of `Neighbours` for a tile of pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, no_type_check

import triton
import triton.language as tl

from models.kernels.lsh_options import LSHOptions
from models.kernels.triton_tiles import Need


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The options that decide which pairs meet, as constants of the kernels."""

    rounds: int
    chunk: int
    before: int
    after: int
    causal: bool
    same_bucket: bool
    reach: int  # strictly: how many places back; 0: by chunks
    count_once: bool

    @classmethod
    def of(cls, options: LSHOptions, *, rounds: int, causal: bool) -> Rule:
        """Return the rule of options for a plan with so many rounds."""
        return cls(
            rounds=rounds,
            chunk=options.chunk,
            before=options.before,
            after=options.after,
            causal=causal,
            same_bucket=options.same_bucket or options.strict,
            reach=options.before * options.chunk if options.strict else 0,
            count_once=options.count_once and rounds > 1,
        )

    @property
    def need(self) -> Need:
        """How much the rule takes beside the sums."""
        if self.count_once:
            return "much"
        return "some" if self.same_bucket or self.before + self.after > 1 else "little"

    def constants(self) -> dict[str, Any]:
        """Return the keyword arguments that every attention kernel takes."""
        return {
            "ROUNDS": self.rounds,
            "CHUNK": self.chunk,
            "BEFORE": self.before,
            "AFTER": self.after,
            "CAUSAL": self.causal,
            "SAME_BUCKET": self.same_bucket,
            "REACH": self.reach,
            "COUNT_ONCE": self.count_once,
        }


@no_type_check
@triton.jit
def near(
    place: tl.tensor,
    bucket: tl.tensor,
    i: tl.tensor,
    j: tl.tensor,
    n: tl.tensor,
    CHUNK: tl.constexpr,
    BEFORE: tl.constexpr,
    AFTER: tl.constexpr,
    SAME_BUCKET: tl.constexpr,
    REACH: tl.constexpr,
) -> tl.tensor:
    """Tell whether queries at positions i meet keys at j in the round of `place` and `bucket`."""
    at_i, at_j = tl.load(place + i, mask=i < n, other=0), tl.load(place + j, mask=j < n, other=0)
    if REACH:
        met = (at_i > at_j) & (at_i - at_j <= REACH)
    else:
        apart = at_j // CHUNK - at_i // CHUNK
        met = (apart >= -BEFORE) & (apart <= AFTER)
    if SAME_BUCKET:
        own, other = (
            tl.load(bucket + i, mask=i < n, other=0),
            tl.load(bucket + j, mask=j < n, other=0),
        )
        met = met & (own == other)
    return met


@no_type_check
@triton.jit
def ruled(
    scores: tl.tensor,
    i: tl.tensor,
    j: tl.tensor,
    at_i: tl.tensor,
    at_j: tl.tensor,
    place: tl.tensor,
    bucket: tl.tensor,
    turn: tl.tensor,
    n: tl.tensor,
    ROUNDS: tl.constexpr,
    CHUNK: tl.constexpr,
    BEFORE: tl.constexpr,
    AFTER: tl.constexpr,
    CAUSAL: tl.constexpr,
    SAME_BUCKET: tl.constexpr,
    REACH: tl.constexpr,
    COUNT_ONCE: tl.constexpr,
    CHUNKS: tl.constexpr,
) -> tl.tensor:
    """Return scores (base 2) of pairs, -inf where they do not meet in round `turn`.

    i and j are the positions of queries and keys, n where there is no token; at_i and at_j their
    places in this round; all broadcast to the scores. `place` and `bucket` are those of the head,
    [rounds, n]. With COUNT_ONCE a key that several rounds offer loses the logarithm of their
    number. The places are those of CHUNKS chunks and of the windows of all these.
    """
    if COUNT_ONCE:
        times = tl.zeros_like(scores)
        for one in range(ROUNDS):
            met = near(
                place + one * n,
                bucket + one * n,
                i,
                j,
                n,
                CHUNK,
                BEFORE,
                AFTER,
                SAME_BUCKET,
                REACH,
            )
            times += met.to(tl.float32)
        scores -= tl.log2(tl.maximum(times, 1.0))
    allowed = j < i if CAUSAL else (j != i) & (j < n)
    if REACH:
        allowed = (j < n) & (at_i > at_j) & (at_i - at_j <= REACH)
    elif CHUNKS > 1:
        apart = at_j // CHUNK - at_i // CHUNK
        allowed = allowed & (apart >= -BEFORE) & (apart <= AFTER)
    if SAME_BUCKET:
        here = bucket + turn * n
        own, other = tl.load(here + i, mask=i < n, other=0), tl.load(here + j, mask=j < n, other=0)
        allowed = allowed & (own == other)
    return tl.where(allowed, scores, -float("inf"))


@no_type_check
@triton.jit
def kept(
    seed: tl.tensor,
    sequence: tl.tensor,
    at_i: tl.tensor,
    at_j: tl.tensor,
    dropout: tl.tensor,
    WINDOW: tl.constexpr,
) -> tl.tensor:
    """Return the factors of dropout on pairs: 0 for the share `dropout`, else 1 / (1 - dropout).

    Counter-based (Philox): sorted sequence and the places of query and key are the counter, so that
    forward and backward draw the same, whichever of their programs comes to a pair.
    """
    pair = at_i * WINDOW + (at_j + WINDOW) % WINDOW
    none = pair * 0
    bits, _, _, _ = tl.philox(seed, pair, none + sequence.to(tl.int32), none, none)
    return tl.where(tl.uint_to_uniform_float(bits) >= dropout, 1.0 / (1.0 - dropout), 0.0)
