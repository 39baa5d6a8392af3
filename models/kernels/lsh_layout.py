"""LSH attention's rounds as a chunked attention lays them out: the plan's order, and its pairs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from models.kernels.chunk_layout import Places
from models.kernels.lsh_options import LSHOptions
from models.kernels.lsh_plan import LSHPlan
from models.kernels.pairs import NOBODY, PairRule, Shared


class LSHLayout:
    """The rounds of a plan, `n = b h` sequences in each."""

    def __init__(
        self, plan: LSHPlan, mask: Tensor | None, options: LSHOptions, *, causal: bool
    ) -> None:
        self._plan = plan
        self.rounds = plan.rounds
        self._heads, length = plan.order.shape[1], plan.order.shape[3]
        self._mask, self._causal, self._options = mask, causal, options
        self._neighbours = options.neighbours(length)
        self.window = self._neighbours.window
        self._strict = self._neighbours.reach is not None
        self.rule = PairRule(terms=self._terms(), shared=self._shared())

    def places(self, r: int, part: slice, dtype: torch.dtype) -> Places:
        """Return round r of some of the sequences, its features in a floating type."""
        order = self._sequences(self._plan.order[:, :, r], part)
        features = [*self._features(r, part, order.long())]
        return Places(
            order=order,
            place=self._sequences(self._plan.place[:, :, r], part),
            query=[query.to(dtype) for query, _, _ in features if query is not None],
            key=[(key.to(dtype), filler) for _, key, filler in features],
        )

    def _terms(self) -> tuple[str, ...]:
        if self._strict:  # the places from the first one met up to the own
            return ("below", "above")
        terms = ("below",) if self._causal else ("apart",)
        return (*terms, "equal") if self._options.same_bucket else terms

    def _shared(self) -> Shared | None:
        if not self._options.count_once or self.rounds == 1:
            return None
        reach = self._neighbours.reach
        return Shared(
            rounds=self.rounds,
            before=self.window.before if reach is None else reach,
            after=self.window.after if reach is None else -1,
            same_bucket=self._neighbours.same_bucket,
        )

    def _features(
        self, r: int, part: slice, order: Tensor
    ) -> Iterator[tuple[Tensor | None, Tensor, float]]:
        """Yield the features of query and key by places, and what fills up those of keys."""
        if self._strict:
            lowest = self._neighbours.lowest(self._plan, r)
            yield from self._strictly(self._sequences(lowest, part).gather(1, order))
        else:
            yield order, self._hidden(order, part, order), NOBODY
            if not self._causal:
                token = torch.ones_like(order, dtype=torch.int8)
                yield None, self._hidden(order, part, token, 0), 0.0
            if self._options.same_bucket:
                bucket = self._sequences(self._plan.bucket[:, :, r], part).gather(1, order)
                yield bucket, bucket, NOBODY
        if self.rule.shared is not None:
            yield from self._rounds(part, order)

    def _strictly(self, lowest: Tensor) -> Iterator[tuple[Tensor, Tensor, float]]:
        # Padding has a bucket behind all others: no token meets it.
        own = torch.arange(lowest.shape[1], device=lowest.device).expand_as(lowest)
        yield own, own, NOBODY
        yield lowest, own + 1, NOBODY

    def _rounds(self, part: slice, order: Tensor) -> Iterator[tuple[Tensor, Tensor, float]]:
        for other in range(self.rounds):
            place = self._sequences(self._plan.place[:, :, other], part).gather(1, order)
            place = place if self._strict else place // self.window.chunk
            yield place, place, NOBODY
            if self._neighbours.same_bucket:
                bucket = self._sequences(self._plan.bucket[:, :, other], part).gather(1, order)
                yield bucket, bucket, NOBODY

    def _hidden(self, order: Tensor, part: slice, x: Tensor, padding: int = 2**30) -> Tensor:
        """Return x with another value at padding."""
        if self._mask is None:
            return x
        rows = torch.arange(part.start, part.stop, device=order.device) // self._heads
        return x.masked_fill(~self._mask[rows].gather(1, order), padding)

    def _sequences(self, x: Tensor, part: slice) -> Tensor:
        """Return some sequences of `[b, h, t]` as `[g, t]`."""
        if x.shape[0] == 1:
            return x[0, part]
        rows = torch.arange(part.start, part.stop, device=x.device)
        return x[rows // self._heads, rows % self._heads]
