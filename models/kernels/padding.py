"""What a padding mask means to a mechanism: where tokens stand, and which outputs are zero."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.kernels.permute import permute


def tokens_first(mask: Bool[Tensor, "b t"]) -> tuple[Int[Tensor, "b t"], Int[Tensor, "b t"]]:
    """Return the order that puts tokens before padding and keeps theirs, and its inverse.

    Whoever chunks a sequence in this order gives padding no influence, wherever it stands.
    """
    order = torch.sort(~mask, dim=-1, stable=True).indices
    places = torch.arange(mask.shape[1], device=mask.device).expand_as(order)
    return order, torch.empty_like(order).scatter_(-1, order, places)


def tell_apart(positions: Int[Tensor, "*n t"], mask: Bool[Tensor, "*n t"]) -> Int[Tensor, "*n t"]:
    """Return the positions, with t, the mark of what is no token, at padding."""
    return positions.masked_fill(~mask, positions.shape[-1])


def zero_padding(
    out: Float[Tensor, "b h t d"], mask: Bool[Tensor, "b t"] | None
) -> Float[Tensor, "b h t d"]:
    """Return the output with zeros at padding: neither it nor its gradient depends on anything."""
    return out if mask is None else out.masked_fill(~mask[:, None, :, None], 0)


def extended(mask: Bool[Tensor, "b t"] | None) -> Bool[Tensor, "b n"] | None:
    """Return the mask of a batch in which each row got one token more."""
    return None if mask is None else torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)


def permute_heads(
    x: Float[Tensor, "b h t d"], order: Int[Tensor, "b t"], inverse: Int[Tensor, "b t"]
) -> Float[Tensor, "b h t d"]:
    """Return `y[i] = x[order[i]]` in all heads of each row; `inverse` is the inverse of `order`."""
    b, h, t, d = x.shape
    heads = [index[:, None].expand(b, h, t).reshape(-1, t) for index in (order, inverse)]
    return permute(x.reshape(-1, t, d), *heads).view(b, h, t, d)
