"""LSH attention one token at a time: a new token is inserted into each round's sorted order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.kernels.cache import Growing
from models.kernels.dense import attend_pairs
from models.kernels.lsh_hash import hash_vectors
from models.kernels.lsh_neighbours import Neighbours
from models.kernels.lsh_plan import LSHPlan
from models.kernels.unit_keys import unit_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class SortedRounds:
    """The plan of the tokens so far, laid out by places."""

    order: Int[Tensor, "b h r t"]  # position of the token at each place
    bucket: Int[Tensor, "b h r t"]  # bucket at each place: ascending
    factors: Sequence[int]  # of the bucket count; empty: all are in one bucket, nothing is hashed
    rotations: Float[Tensor, "h d r f"] | None

    @classmethod
    def of(
        cls, plan: LSHPlan, factors: Sequence[int], rotations: Float[Tensor, "h d r f"] | None
    ) -> SortedRounds:
        """Lay out a plan."""
        bucket = plan.bucket.gather(-1, plan.order.long())
        return cls(order=plan.order, bucket=bucket, factors=factors, rotations=rotations)

    def insert(self, x: Float[Tensor, "b h 1 d"]) -> SortedRounds:
        """Return the rounds with the vector of the next position: behind those of its bucket."""
        if self.rotations is None:
            bucket = torch.zeros_like(self.bucket[..., :1])
        else:
            bucket = hash_vectors(x, self.rotations, self.factors)
        place = torch.searchsorted(self.bucket, bucket, right=True)
        length = self.order.shape[-1]
        places = torch.arange(length + 1, device=x.device)
        source = (places - (places > place).long()).clamp(max=length - 1)
        last = torch.full_like(bucket, length, dtype=self.order.dtype)
        return SortedRounds(
            order=self.order.gather(-1, source).scatter_(-1, place, last),
            bucket=self.bucket.gather(-1, source).scatter_(-1, place, bucket),
            factors=self.factors,
            rotations=self.rotations,
        )

    def met_by_last(
        self, neighbours: Neighbours, mask: Bool[Tensor, "b t"] | None
    ) -> tuple[Int[Tensor, "b h n"], Bool[Tensor, "b h n"]]:
        """Return the positions around the last token in all rounds, and which of them it meets."""
        length = self.order.shape[-1]
        place = (self.order == length - 1).int().argmax(dim=-1, keepdim=True)
        window = neighbours.window
        if neighbours.reach is None:
            first, count = (place // window.chunk - window.before) * window.chunk, window.keys
        else:
            first, count = place - neighbours.reach, neighbours.reach
        places = first + torch.arange(count, device=place.device)
        allowed = (places >= 0) & (places < length) & (places != place)
        places = places.clamp(0, length - 1)
        if neighbours.same_bucket:
            allowed &= self.bucket.gather(-1, places) == self.bucket.gather(-1, place)
        positions = self.order.gather(-1, places).flatten(2).long()
        allowed = allowed.flatten(2)
        if mask is not None:
            allowed &= mask[:, None].expand(-1, positions.shape[1], -1).gather(-1, positions)
        return positions, allowed

    def select(self, rows: Int[Tensor, " r"]) -> SortedRounds:
        """Return these rows of the batch."""
        return SortedRounds(
            order=self.order[rows],
            bucket=self.bucket[rows],
            factors=self.factors,
            rotations=self.rotations,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LSHState:
    """What LSH attention keeps while decoding."""

    shared: Growing  # the vectors that are query and key
    values: Growing
    mask: Bool[Tensor, "b t"] | None
    rounds: SortedRounds

    def attend(
        self,
        q: Float[Tensor, "b h 1 d"],
        neighbours: Neighbours,
        *,
        scale: float,
        count_once: bool,
        dropout: float,
    ) -> Float[Tensor, "b h 1 d"]:
        """Return the attention of q, the last token; its own value if it meets no key."""
        met, allowed = self.rounds.met_by_last(neighbours, self.mask)
        wide = torch.promote_types(q.dtype, torch.float32)
        bias = None
        if count_once:
            times = _times_offered(met, allowed, self.shared.length).clamp(min=1)
            bias = -times.to(wide).log().unsqueeze(2)
        values = self.values.tensor
        out = attend_pairs(
            q.to(wide),
            unit_keys(_take(self.shared.tensor, met)).to(wide),
            _take(values, met).to(wide),
            allowed.unsqueeze(2),
            scale=scale,
            bias=bias,
            dropout=dropout,
        )
        any_met = allowed.any(dim=-1)[..., None, None]
        return torch.where(any_met, out.to(values.dtype), values[:, :, -1:])

    def select(self, rows: Int[Tensor, " r"]) -> LSHState:
        """Return these rows of the batch."""
        return LSHState(
            shared=self.shared.select(rows),
            values=self.values.select(rows),
            mask=None if self.mask is None else self.mask[rows],
            rounds=self.rounds.select(rows),
        )


def _times_offered(
    positions: Int[Tensor, "b h n"], allowed: Bool[Tensor, "b h n"], length: int
) -> Int[Tensor, "b h n"]:
    """Return how often each position stands among the allowed ones."""
    counts = torch.zeros(*positions.shape[:2], length, dtype=torch.int64, device=positions.device)
    return counts.scatter_add_(-1, positions, allowed.long()).gather(-1, positions)


def _take(x: Float[Tensor, "b h t d"], positions: Int[Tensor, "b h n"]) -> Float[Tensor, "b h n d"]:
    """Return the vectors at some positions of each head."""
    b, h, _, d = x.shape
    return x.gather(2, positions.unsqueeze(-1).expand(b, h, positions.shape[-1], d))
