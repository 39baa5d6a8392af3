"""LSH attention by its definition: the sums over all pairs that a plan lets meet."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.kernels.dense import attend_pairs
from models.kernels.lsh_options import LSHOptions
from models.kernels.lsh_plan import LSHPlan
from models.kernels.unit_keys import unit_keys


def attend_rows(
    q: Float[Tensor, "b h t d"],
    v: Float[Tensor, "b h t d"],
    rows: Int[Tensor, " r"],
    plan: LSHPlan,
    mask: Bool[Tensor, "b t"] | None,
    options: LSHOptions,
    *,
    causal: bool,
    scale: float,
    dropout: float,
) -> Float[Tensor, "b h r d"]:
    """Return the attention of the vectors at `rows`; who meets no key keeps its own value.

    A key that n rounds offer has `+ log n` on its score (appendix A, equations 13 to 16), which
    `count_once` takes away again.
    """
    k, keys = unit_keys(q), torch.arange(q.shape[2], device=q.device)
    neighbours = options.neighbours(q.shape[2])
    times = neighbours.times(plan, rows.view(1, -1, 1), keys.view(1, 1, -1))
    times = times.unflatten(0, q.shape[:2])
    allowed = (times > 0) & (keys != rows[:, None])
    if causal:
        allowed &= keys <= rows[:, None]
    if mask is not None:
        allowed &= mask[:, None, None, :]
    bias = None if options.count_once else times.clamp(min=1).to(q.dtype).log()
    out = attend_pairs(q[:, :, rows], k, v, allowed, scale=scale, bias=bias, dropout=dropout)
    return torch.where(allowed.any(dim=-1, keepdim=True), out, v[:, :, rows])
