"""The options of LSH attention: how to hash and whom to meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from models.kernels.lsh_neighbours import Neighbours
from models.kernels.lsh_plan import bucket_factors
from models.kernels.windows import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class LSHOptions:
    """How to hash and whom to meet.

    Raises:
        ValueError: a value is impossible, or values contradict each other.
    """

    hashes: int = 4  # rounds
    chunk: int = 64  # tokens of the sorted sequence that attend together
    buckets: int | Sequence[int] | None = None  # count or even factors; None: 2 N / chunk
    max_len: int | None = None  # the N of that count, whatever the length; None: the length itself
    before: int = 1  # earlier chunks of the sorted sequence that a chunk sees
    after: int = 0  # later chunks
    logit_scale: Literal["unit", "sqrt_d"] = (
        "unit"  # q . k/|k| as the authors' code; or that / sqrt(d)
    )
    same_bucket: bool = False  # meet only keys of the own bucket
    count_once: bool = False  # a key that n rounds offer counts once, not n times (appendix A)
    strict: bool = False  # later tokens do not even decide which earlier ones are met
    attention_dropout: float = 0.0  # share of normalised weights that training sets to zero
    seed: int = 0  # of the rotations
    redraw: bool = False  # new rotations at each forward in training; evaluation has the seed's

    def __post_init__(self) -> None:
        if self.buckets is not None and not isinstance(self.buckets, int):
            object.__setattr__(self, "buckets", tuple(self.buckets))
        if self.hashes < 1 or self.chunk < 1 or self.before < 0 or self.after < 0:
            raise ValueError(f"{self}: hashes, chunk are at least 1, before, after at least 0")
        if self.max_len is not None and self.max_len < 1:
            raise ValueError(f"max_len: {self.max_len}; at least 1")
        if any(f < 2 or f % 2 for f in self.factors(1)):
            raise ValueError(
                f"buckets: {self.buckets}; a bucket count or factor is even and at least 2"
            )
        if self.logit_scale not in {"unit", "sqrt_d"}:
            raise ValueError(f"logit_scale: {self.logit_scale!r}; allowed: 'unit', 'sqrt_d'")
        if not 0 <= self.attention_dropout < 1:
            raise ValueError(f"attention_dropout: {self.attention_dropout}; at least 0 and below 1")
        if self.strict:
            self._check_strict()

    @property
    def window(self) -> Window:
        """The chunks that a chunk of the sorted sequence sees."""
        return Window(chunk=self.chunk, before=self.before, after=self.after)

    def neighbours(self, seq_len: int) -> Neighbours:
        """Return the rule of who meets whom for a length."""
        return Neighbours(
            window=self.window.clipped(seq_len),
            same_bucket=self.same_bucket or self.strict,
            reach=self.before * self.chunk if self.strict else None,
        )

    def factors(self, seq_len: int) -> list[int]:
        """Return the factors of the bucket count for a length."""
        return bucket_factors(self.buckets, self.max_len or seq_len, self.chunk)

    def hashed(self, seq_len: int) -> bool:
        """Tell whether sequences of a length are hashed: not if they fit into one chunk.

        Strictly they are, for longer ones must give the same outputs at the same places.
        """
        return self.strict or seq_len > self.chunk

    def rounds(self, seq_len: int) -> int:
        """Return the rounds for a length: what is not hashed needs one."""
        return self.hashes if self.hashed(seq_len) else 1

    def _check_strict(self) -> None:
        if self.buckets is None and self.max_len is None:
            raise ValueError(
                "strict: the bucket count must not depend on the length; set buckets or max_len"
            )
        if self.before < 1 or self.after:
            raise ValueError(
                f"strict: before {self.before}, after {self.after}; a query meets the last "
                "before * chunk keys of its bucket: before is at least 1, after is 0"
            )
