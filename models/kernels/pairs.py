"""How much a pair of query and key counts in a window: nothing, once, or a share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

# What fills up a key's features where there is no token: later than every position.
NOBODY = float(2**30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A key that several rounds offer counts once: each offer counts `1 / n` of it (appendix A).

    The features of a round are the chunks of query and key, or strictly their places; and their
    buckets, where only keys of the own bucket are met.
    """

    rounds: int
    before: int  # chunks, or places if strict
    after: int  # chunks; -1 if strict: only earlier places
    same_bucket: bool

    def __call__(self, query: Sequence[Tensor], key: Sequence[Tensor]) -> Tensor:
        """Return `1 / n` for each pair, also where it is not allowed."""
        times: Tensor | None = None
        each = 2 if self.same_bucket else 1
        for r in range(self.rounds):
            step = key[each * r] - query[each * r]
            near = (step + (self.before + 1)).minimum(self.after + 1 - step).clamp(0, 1)
            if self.same_bucket:
                near = near * equal(query[each * r + 1], key[each * r + 1])
            times = near if times is None else times + near
        assert times is not None
        return times.clamp(min=1).reciprocal()


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRule:
    """Weighs pairs by features of query and key, integers in floating point.

    Comparisons are arithmetic, `clamp(a - b, 0, 1)`: on a CPU that takes a third of the time of a
    comparison and a masked fill. The terms take their features in turn:

    * `below`: the key's is below the query's.
    * `above`: the key's is above the query's.
    * `apart`: they differ, and the key has a second one, 1 where it is a token, else 0.
    * `token`: the key's is 1, else 0; the query has none.
    * `equal`: they are equal.
    """

    terms: tuple[str, ...]
    shared: Shared | None = None

    def __call__(self, query: Sequence[Tensor], key: Sequence[Tensor]) -> Tensor:
        """Return the factors `[n, c, w]` from features `[n, c, 1]` and `[n, 1, w]`."""
        queries, keys = iter(query), iter(key)
        factor: Tensor | None = None
        for name in self.terms:
            term = _TERMS[name](queries, keys)
            factor = term if factor is None else factor * term
        assert factor is not None
        if self.shared is not None:
            factor = factor * self.shared([*queries], [*keys])
        return factor


def equal(a: Tensor, b: Tensor) -> Tensor:
    """Return 1 where two integers are equal, else 0."""
    return (1 - (a - b).abs_()).clamp_(min=0)


_TERMS = {
    "below": lambda queries, keys: (next(queries) - next(keys)).clamp_(0, 1),
    "above": lambda queries, keys: (next(keys) - next(queries)).clamp_(0, 1),
    "apart": lambda queries, keys: (next(queries) - next(keys)).abs_().minimum(next(keys)),
    "token": lambda _, keys: next(keys),
    "equal": lambda queries, keys: equal(next(queries), next(keys)),
}
