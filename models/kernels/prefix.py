"""Sums over earlier tokens of products of features: what linear attention is made of."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad


def chunked(
    q: Float[Tensor, "b h t m"],
    k: Float[Tensor, "b h t m"],
    v: Float[Tensor, "b h t e"],
    *,
    chunk: int,
) -> Float[Tensor, "b h t e"]:
    """Return `sum_{j <= i} (q_i . k_j) v_j`, chunk by chunk: O(t (chunk + m) e).

    Inside a chunk the sum runs over pairs; of all earlier chunks only `S = sum k_j v_j^T` is
    needed, which is added up in float32 at least.
    """
    t = q.shape[2]
    chunk = min(chunk, t)
    fill = (0, 0, 0, -t % chunk)
    q, k, v = (pad(x, fill).unflatten(2, (-1, chunk)) for x in (q, k, v))
    out = (q @ k.mT).tril() @ v
    if q.shape[2] > 1:
        out = torch.cat([out[:, :, :1], out[:, :, 1:] + q[:, :, 1:] @ before(k, v)], dim=2)
    return out.flatten(2, 3)[:, :, :t]


def before(
    k: Float[Tensor, "b h n c m"], v: Float[Tensor, "b h n c e"]
) -> Float[Tensor, "b h n-1 m e"]:
    """Return for all chunks but the first the sum `S` over the chunks before it."""
    sums = k[:, :, :-1].mT @ v[:, :, :-1]
    wide = torch.promote_types(sums.dtype, torch.float32)
    return sums.cumsum(dim=2, dtype=wide).to(sums.dtype)


def recurrent(
    q: Float[Tensor, "b h t m"],
    k: Float[Tensor, "b h t m"],
    v: Float[Tensor, "b h t e"],
    state: Float[Tensor, "b h m e"] | None = None,
) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b h m e"]]:
    """Return the same sums token by token, and the state `S` after the last: O(t m e)."""
    wide = torch.promote_types(q.dtype, torch.float32)
    if state is None:
        state = q.new_zeros(*q.shape[:2], q.shape[3], v.shape[3], dtype=wide)
    outs: list[Tensor] = []
    for i in range(q.shape[2]):
        one = slice(i, i + 1)
        state = state + (k[:, :, one].mT @ v[:, :, one]).to(wide)
        outs.append(q[:, :, one] @ state.to(q.dtype))
    return torch.cat(outs, dim=2), state


def chunked_flops(*, seq_len: int, features: int, width: int, chunk: int) -> int:
    """Return the FLOPs of `chunked` for one head."""
    chunk = min(chunk, seq_len)
    chunks = -(-seq_len // chunk)
    inside = 2 * chunks * chunk * chunk * (features + width)
    return inside + 4 * (chunks - 1) * chunk * features * width


def recurrent_flops(*, seq_len: int, features: int, width: int) -> int:
    """Return the FLOPs of `recurrent` for one head."""
    return 4 * seq_len * features * width
