"""Sums over earlier tokens that fade by gates: what gated linear attention is made of."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad


def chunked(
    q: Float[Tensor, "b h t d"],
    k: Float[Tensor, "b h t d"],
    v: Float[Tensor, "b h t e"],
    gates: Float[Tensor, "b h t d"],
    *,
    chunk: int,
) -> Float[Tensor, "b h t e"]:
    """Return `q_i S_i`, `S_i = diag(exp g_i) S_{i-1} + k_i v_i^T`, chunk by chunk.

    With `G` the sum of the gates since the chunk began, a pair inside it weighs
    `(q_i exp G_i) . (k_j exp -G_j)`. Both factors must be numbers: `chunk` times the lowest gate
    is above -88 in float32.

    Args:
        q: queries, scaled.
        k: keys.
        v: values.
        gates: logarithms, at most 0.
        chunk: tokens that are attended by pairs.
    """
    t = q.shape[2]
    chunk = min(chunk, t)
    fill = (0, 0, 0, -t % chunk)
    q, k, v, gates = (pad(x, fill).unflatten(2, (-1, chunk)) for x in (q, k, v, gates))
    faded = gates.cumsum(dim=3)
    queries = q * faded.exp()
    out = (queries @ (k * (-faded).exp()).mT).tril() @ v
    if q.shape[2] > 1:
        last = faded[:, :, :-1, -1:]
        sums = (k[:, :, :-1] * (last - faded[:, :, :-1]).exp()).mT @ v[:, :, :-1]
        before = torch.stack(_carried(sums, last.mT.exp()), dim=2)
        out = torch.cat([out[:, :, :1], out[:, :, 1:] + queries[:, :, 1:] @ before], dim=2)
    return out.flatten(2, 3)[:, :, :t]


def recurrent(
    q: Float[Tensor, "b h t d"],
    k: Float[Tensor, "b h t d"],
    v: Float[Tensor, "b h t e"],
    gates: Float[Tensor, "b h t d"],
    state: Float[Tensor, "b h d e"] | None = None,
) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b h d e"]]:
    """Return the same token by token, and the state after the last."""
    if state is None:
        state = q.new_zeros(*q.shape[:2], q.shape[3], v.shape[3])
    outs: list[Tensor] = []
    for i in range(q.shape[2]):
        one = slice(i, i + 1)
        state = state * gates[:, :, one].mT.exp() + k[:, :, one].mT @ v[:, :, one]
        outs.append(q[:, :, one] @ state)
    return torch.cat(outs, dim=2), state


def _carried(sums: Tensor, fade: Tensor) -> list[Tensor]:
    """Return the state before each chunk but the first."""
    state, states = None, []
    for one, factor in zip(sums.unbind(2), fade.unbind(2), strict=True):
        state = one if state is None else state * factor + one
        states.append(state)
    return states
