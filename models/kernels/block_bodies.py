"""The arithmetic of some chunks against their windows: what each impl runs in its own way.

With `w_ij = f_ij exp(s_ij - t_i)`, `s_ij = q_i . k_j`, factors `f` of a `PairRule`, and a bound `t`
on the scores (None: zero), a round adds `sum_j w_ij v_j` to the numerator and `sum_j w_ij` to the
sum `Z_i` of each query. The bound is the same in all rounds, so nothing is rescaled. With the
output `o` of all rounds, `g_i = do_i / Z_i` and `D_i = (do_i . o_i) / Z_i`:

    dv_j = sum_i w_ij g_i      ds_ij = w_ij (g_i . v_j - D_i)
    dq_i = sum_j ds_ij k_j     dk_j = sum_i ds_ij q_i

A round needs nothing of the others but `Z` and `o`. Dropped weights leave the numerator: there
`w_ij` is multiplied by `kept_ij`, 0 or `1 / (1 - p)`, and so is `g_i . v_j`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.kernels.pairs import PairRule

SAFE = 40.0  # scores up to this size need no bound: exp(40) n v is far below the largest float32


@dataclass(frozen=True, slots=True)
class Block:
    """Some chunks: queries `[n, c, d]`, windows of keys and values `[n, w, d]`, and features."""

    q: Tensor
    k: Tensor
    v: Tensor
    query: Sequence[Tensor]  # [n, c, 1]
    key: Sequence[Tensor]  # [n, 1, w]
    top: Tensor | None  # [n, c, 1]
    kept: Tensor | None  # [n, c, w]


def weights(block: Block, rule: PairRule, wide: torch.dtype) -> Tensor:
    """Return the weights `[n, c, w]` in a wide precision."""
    scores = torch.bmm(block.q, block.k.mT).to(wide)
    if block.top is not None:  # what is not allowed may be larger: it must not overflow
        scores = scores.sub_(block.top).clamp_(max=SAFE)
    return scores.exp_().mul_(rule(block.query, block.key))


def forward(block: Block, rule: PairRule, out: tuple[Tensor, Tensor]) -> None:
    """Write what the block adds to numerators `[n, c, d]` and sums `[n, c]`, the latter wide."""
    w = weights(block, rule, out[1].dtype)
    torch.sum(w, dim=-1, out=out[1])
    if block.kept is not None:
        w = w.mul_(block.kept)
    torch.bmm(w.to(block.v.dtype), block.v, out=out[0])


def backward(
    block: Block, rule: PairRule, g: Tensor, delta: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of q `[n, c, d]` and of the windows of k and v `[n, w, d]`.

    `g` is `[n, c, d]` in the precision of v, `delta` `[n, c, 1]` in the wide one.
    """
    wide, low = delta.dtype, block.v.dtype
    w = weights(block, rule, wide)
    inner = torch.bmm(g, block.v.mT).to(wide)
    if block.kept is None:
        dv = torch.bmm(w.to(low).mT, g)
    else:
        dv = torch.bmm((w * block.kept).to(low).mT, g)
        inner = inner.mul_(block.kept)
    ds = inner.sub_(delta).mul_(w).to(low)
    return torch.bmm(ds, block.k), torch.bmm(ds.mT, block.q), dv


def highest(block: Block, rule: PairRule, wide: torch.dtype) -> Tensor:
    """Return the largest allowed score of each query `[n, c]`, -inf where none is allowed."""
    scores = torch.bmm(block.q, block.k.mT).to(wide)
    forbidden = rule(block.query, block.key) == 0
    return scores.masked_fill_(forbidden, -torch.inf).amax(dim=-1)
