"""Who meets whom in LSH attention, once a plan has sorted the tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from models.kernels.lsh_plan import LSHPlan, look_up
from models.kernels.windows import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """Which places of the sorted sequence a query meets in a round; itself left aside.

    By default, as the paper, those in its chunk and the chunks of the window beside it; where the
    borders of chunks lie depends on all tokens. Strictly, the last `reach` places before its own
    that are of its bucket: these, counted backwards, depend on earlier tokens alone. The window
    covers them, so that both are computed chunk by chunk.
    """

    window: Window  # clipped to the sequence
    same_bucket: bool
    reach: int | None = None  # tokens; None: by default

    def met(
        self, plan: LSHPlan, r: int, i: Int[Tensor, "#n ..."], j: Int[Tensor, "#n ..."]
    ) -> Bool[Tensor, "n ..."]:
        """Tell whether the query at i meets the key at j in round r, by the definition."""
        place, bucket = plan.place[:, :, r], plan.bucket[:, :, r]
        own = look_up(bucket, i) == look_up(bucket, j)
        if self.reach is not None:
            apart = look_up(place, i) - look_up(place, j)
            return own & (apart > 0) & (apart <= self.reach)
        chunk = place // self.window.chunk
        apart = look_up(chunk, j) - look_up(chunk, i)
        near = (apart >= -self.window.before) & (apart <= self.window.after)
        return near & own if self.same_bucket else near

    def times(
        self, plan: LSHPlan, i: Int[Tensor, "#n ..."], j: Int[Tensor, "#n ..."]
    ) -> Int[Tensor, "n ..."]:
        """Return in how many rounds the query at i meets the key at j (`N_ij`, appendix A)."""
        times = torch.zeros(1, dtype=torch.int32, device=i.device)
        for r in range(plan.rounds):
            times = times + self.met(plan, r, i, j)
        return times

    def lowest(self, plan: LSHPlan, r: int) -> Int[Tensor, "b h t"]:
        """Return the first place that each position strictly meets in round r."""
        place, bucket = plan.place[:, :, r], plan.bucket[:, :, r]
        ordered = bucket.gather(-1, plan.order[:, :, r].long())
        first = torch.searchsorted(ordered, bucket.contiguous(), out_int32=True)
        return torch.maximum(first, place - (self.reach or 0))
