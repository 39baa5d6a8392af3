"""Attention inside chunks and their neighbours, in any order of the sequence, without a wrap."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import pad

# (scores [n, c, m, w], query positions [n, c, m, 1], key positions [n, c, 1, w]) -> scores, with
# -inf where a pair is forbidden. It may write into the scores, which nobody else reads.
Rule = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which chunks a query sees: its own, `before` earlier ones and `after` later ones."""

    chunk: int  # tokens
    before: int
    after: int

    def clipped(self, seq_len: int) -> Window:
        """Return the window without chunks that a sequence of this length cannot have."""
        chunk = min(self.chunk, seq_len)
        others = -(-seq_len // chunk) - 1
        return Window(chunk=chunk, before=min(self.before, others), after=min(self.after, others))

    @property
    def keys(self) -> int:
        """Keys in a window."""
        return (self.before + 1 + self.after) * self.chunk

    def padded(self, seq_len: int) -> int:
        """Return the length filled up to whole chunks."""
        return -(-seq_len // self.chunk) * self.chunk

    def pairs(self, seq_len: int) -> int:
        """Return the query-key pairs that `attend_windows` computes for one head."""
        window = self.clipped(seq_len)
        return window.padded(seq_len) * window.keys


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialSoftmax:
    """An attention sum before its division, so that sums over other keys can be added to it.

    `top` is the largest score, -inf where no key was allowed. It is kept apart from `total`
    because a log-sum-exp would lose `total` in float32 where scores are large.
    """

    top: Float[Tensor, "*n t"]  # at least float32, without gradient
    total: Float[Tensor, "*n t"]  # sum of exp(score - top)
    value: Float[Tensor, "*n t d"]  # sum of exp(score - top) v


def attend_windows(
    q: Float[Tensor, "n t d"],
    k: Float[Tensor, "n t d"],
    v: Float[Tensor, "n t d"],
    positions: Int[Tensor, "n t"],
    window: Window,
    rule: Rule,
    *,
    dropout: float = 0.0,
) -> PartialSoftmax:
    """Attend among neighbours: `n` sequences, given in the order in which they are chunked.

    `positions` are the original places of the tokens; whatever fills up the last chunk or lies
    beyond an end has the position `t`, and the rule must forbid it as a key. Dropout takes weights
    out of `value` and not out of `total`: it acts on normalised weights.
    """
    n, t, d = q.shape
    window = window.clipped(t)
    fill = window.padded(t) - t
    queries = pad(q, (0, 0, 0, fill)).view(n, -1, window.chunk, d)
    keys, values = _windows(k, window, fill), _windows(v, window, fill)
    key_positions = _windows(positions.unsqueeze(-1), window, fill, t).mT
    query_positions = pad(positions, (0, fill), value=t).view(n, -1, window.chunk, 1)

    # Scores are written over where autograd allows it: one tensor of pairs is kept, not four.
    wide = torch.promote_types(q.dtype, torch.float32)
    scores = (queries @ keys.mT).to(wide)
    scores = rule(scores, query_positions, key_positions)
    top = scores.detach().amax(dim=-1, keepdim=True)
    weights = scores.sub_(top.masked_fill(top == -math.inf, 0)).exp_()
    kept = functional.dropout(weights, dropout) if dropout else weights
    value = kept.to(v.dtype) @ values
    return PartialSoftmax(
        top=top.view(n, -1)[:, :t],
        total=weights.sum(dim=-1).view(n, -1)[:, :t],
        value=value.view(n, -1, d)[:, :t],
    )


def combine(
    parts: Sequence[PartialSoftmax], alone: Float[Tensor, "n t d"]
) -> Float[Tensor, "n t d"]:
    """Add the parts' sums and divide; a query that met no key in any part gets its `alone`."""
    top = torch.stack([part.top for part in parts])
    highest = top.amax(dim=0)
    factors = torch.exp(top - highest.masked_fill(highest == -math.inf, 0))
    total = (factors * torch.stack([part.total for part in parts])).sum(dim=0)
    value = (factors.unsqueeze(-1) * torch.stack([part.value for part in parts])).sum(dim=0)
    met = (highest > -math.inf).unsqueeze(-1)
    mean = value / total.unsqueeze(-1).masked_fill(~met, 1)
    return torch.where(met, mean.to(alone.dtype), alone)


def _windows(x: Tensor, window: Window, fill: int, value: int = 0) -> Tensor:
    """Lay out each chunk's window: `[n, t, d]` to `[n, chunks, keys, d]`."""
    m = window.chunk
    x = pad(x, (0, 0, window.before * m, fill + window.after * m), value=value)
    x = x.view(x.shape[0], -1, m, x.shape[-1])
    span = window.before + 1 + window.after
    chunks = x.shape[1] - span + 1
    return torch.cat([x[:, i : i + chunks] for i in range(span)], dim=2)
