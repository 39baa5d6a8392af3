"""LSH attention by a plan: sorted, in chunks, round by round, in memory linear in the length."""

from __future__ import annotations

import math

from jaxtyping import Bool, Float
from torch import Tensor

from models.kernels.lsh_dispatch import Call
from models.kernels.lsh_options import LSHOptions
from models.kernels.lsh_plan import LSHPlan, look_up
from models.kernels.padding import tell_apart
from models.kernels.permute import permute
from models.kernels.unit_keys import unit_keys
from models.kernels.windows import PartialSoftmax, Rule, attend_windows, combine


def missing() -> str | None:
    """Return nothing: it runs wherever torch does."""
    return None


def refuse(call: Call, options: LSHOptions) -> str | None:  # noqa: ARG001 - it takes everything
    """Return nothing: it computes every call."""
    return None


def attend(
    q: Float[Tensor, "b h t d"],
    v: Float[Tensor, "b h t d"],
    plan: LSHPlan,
    mask: Bool[Tensor, "b t"] | None,
    options: LSHOptions,
    *,
    causal: bool,
    scale: float,
    dropout: float,
) -> Float[Tensor, "b h t d"]:
    """Return the attention of the vectors; who meets no key keeps its own value.

    Rounds are added as sums of one softmax, in float32 at least; `dropout` acts on the weights.
    """
    b, h, t, d = q.shape
    q, k, v = (x.reshape(-1, t, d) for x in (q * scale, unit_keys(q), v))
    rounds: list[PartialSoftmax] = []
    for r in range(plan.rounds):
        order, place = plan.order[:, :, r].flatten(0, 1), plan.place[:, :, r].flatten(0, 1)
        positions = order
        if mask is not None:
            shown = mask[:, None].expand(b, h, t).flatten(0, 1).gather(1, order.long())
            positions = tell_apart(order, shown)
        part = attend_windows(
            permute(q, order, place),
            permute(k, order, place),
            permute(v, order, place),
            positions,
            options.window,
            _rule(plan, r, options, causal=causal),
            dropout=dropout,
        )
        rounds.append(_unsort(part, order, place))
    return combine(rounds, v).view(b, h, t, d)


def _rule(plan: LSHPlan, r: int, options: LSHOptions, *, causal: bool) -> Rule:
    length = plan.place.shape[-1]
    neighbours = options.neighbours(length)
    place, bucket = plan.place[:, :, r], plan.bucket[:, :, r]
    lowest = neighbours.lowest(plan, r) if options.strict else None

    def forbidden(i: Tensor, j: Tensor) -> Tensor:
        # Padding and whatever fills up the windows have position `length`: later than any token.
        if lowest is not None:
            other = look_up(place, j).masked_fill(j == length, length)
            return (other >= look_up(place, i)) | (other < look_up(lowest, i))
        apart = j >= i if causal else (j == i) | (j == length)
        if options.same_bucket:
            apart |= look_up(bucket, i) != look_up(bucket, j)
        return apart

    def rule(scores: Tensor, i: Tensor, j: Tensor) -> Tensor:
        if options.count_once:
            times = neighbours.times(plan, i, j).clamp_(min=1)
            scores -= times.to(scores.dtype).log_()
        return scores.masked_fill_(forbidden(i, j), -math.inf)

    return rule


def _unsort(part: PartialSoftmax, order: Tensor, place: Tensor) -> PartialSoftmax:
    return PartialSoftmax(
        top=part.top.gather(1, place.long()),
        total=part.total.gather(1, place.long()),
        value=permute(part.value, place, order),
    )
