"""Attention in chunks as one function with a backward of its own: memory linear in the length.

Nothing is kept for the backward but inputs, output, sums (and bounds, where they are needed):
weights are computed again, block by block, from the same layout, with the sums of all rounds. The
rounds are added in a fixed order by permutations, never by atomic additions: results repeat
bitwise. See `block_bodies` for the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.kernels import block_bodies
from models.kernels.block_bodies import SAFE, Block
from models.kernels.chunk_layout import Buffers, Layout, Round
from models.kernels.pairs import PairRule

GROUP = 8192  # tokens of several short sequences that are laid out together
# Pairs of a block. On a CPU its scores and factors stay in the second level cache.
BLOCK = {"cpu": 2**17}
BLOCK_ELSEWHERE = 2**24


@dataclass(frozen=True, slots=True, kw_only=True)
class Bodies:
    """The three functions of `block_bodies`, computed in one way or another."""

    forward: Callable[[Block, PairRule, tuple[Tensor, Tensor]], None]
    backward: Callable[[Block, PairRule, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
    highest: Callable[[Block, PairRule, torch.dtype], Tensor]


EAGER = Bodies(
    forward=block_bodies.forward, backward=block_bodies.backward, highest=block_bodies.highest
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be computed, beside the vectors."""

    layout: Layout
    bodies: Bodies
    dropout: float
    alone: bool  # whether a query without keys gets its own value; else zeros


def attend(q: Tensor, k: Tensor, v: Tensor, plan: Plan) -> Tensor:
    """Return the attention `[n, t, d]` of `[n, t, d]`; scores are `q_i . k_j`, scaled by nobody.

    A compiler leaves it alone: it would unroll all blocks into one graph.
    """
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    if torch.compiler.is_compiling():
        return _left_alone(q, k, v, plan)
    return _Chunked.apply(q, k, v, plan)


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, plan: Plan) -> Tensor:
        ctx.plan, ctx.random = plan, _random_state(q) if plan.dropout else None
        with _no_autocast(q):
            walk = _Walk(q, k, v, plan)
            top = walk.top() if _needs_bound(q, k) else None
            value, total = walk.forward(top)
            met = (total > 0).unsqueeze(-1)
            out = value.div_(total.unsqueeze(-1).masked_fill(~met, 1)).to(v.dtype)
            if plan.alone:
                out = torch.where(met, out, v)
        ctx.save_for_backward(q, k, v, out, total, top)
        return out

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - the base has any number
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None]:
        if torch.is_grad_enabled():  # `once_differentiable` would return zeros where grad is given
            raise RuntimeError(
                "create_graph=True: chunked attention has no second derivative; "
                "impl 'reference' has one"
            )
        q, k, v, out, total, top = ctx.saved_tensors
        with _no_autocast(q), _random_again(q, ctx.random):
            wide = total.dtype
            inverse = total.reciprocal().masked_fill_(total == 0, 0).unsqueeze(-1)
            grad = grad.contiguous()
            g = grad.to(wide) * inverse
            delta = (g * out).sum(dim=-1, keepdim=True)
            walk = _Walk(q, k, v, ctx.plan)
            dq, dk, dv = walk.backward(g.to(v.dtype), delta, top)
            if ctx.plan.alone:
                dv.add_(grad.masked_fill(inverse > 0, 0))
        return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype), None


@torch._disable_dynamo  # pyright: ignore[reportPrivateImportUsage] - the public one imports much
def _left_alone(q: Tensor, k: Tensor, v: Tensor, plan: Plan) -> Tensor:
    return _Chunked.apply(q, k, v, plan)


class _Walk:
    """Goes through the rounds of groups of sequences, block by block, always in the same order."""

    def __init__(self, q: Tensor, k: Tensor, v: Tensor, plan: Plan) -> None:
        self._q, self._k, self._v, self._plan = q, k, v, plan
        self._rule, self._bodies = plan.layout.rule, plan.bodies
        self._wide = torch.promote_types(q.dtype, torch.float32)
        window = plan.layout.window
        pairs = BLOCK.get(q.device.type, BLOCK_ELSEWHERE)
        self._chunks = max(1, pairs // (window.chunk * window.keys))

    def top(self) -> Tensor:
        """Return the largest allowed score of each query over all rounds; 0 where it needs none.

        So a query's sums are the same to the bit whether or not others need a bound: no later
        token, say, whose scores are large, changes the rounding of an earlier one.
        """
        top = torch.full_like(self._q[..., 0], -math.inf, dtype=self._wide)
        for part, r in self._rounds():
            found = r.results("top", self._q[..., 0], self._wide)
            for first, last, block in self._blocks(r, None, dropout=0.0):
                found[first:last] = self._bodies.highest(block, self._rule, self._wide)
            top[part] = top[part].maximum(r.put_back(found))
        return top.masked_fill_((top.abs() <= SAFE) | (top == -math.inf), 0)

    def forward(self, top: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return numerators `[n, t, d]` and sums `[n, t]` over all rounds."""
        value = torch.zeros_like(self._v, dtype=self._wide)
        total = torch.zeros_like(value[..., 0])
        for _, r in self._rounds():
            values = r.results("value", self._v, self._v.dtype)
            totals = r.results("total", total, self._wide)
            for first, last, block in self._blocks(r, top, dropout=self._plan.dropout):
                out = values[first:last], totals[first:last]
                self._bodies.forward(block, self._rule, out)
            r.add_to(value, values)
            r.add_to(total, totals)
        return value, total

    def backward(
        self, g: Tensor, delta: Tensor, top: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of q, k, v in the wide precision."""
        totals = [torch.zeros_like(x, dtype=self._wide) for x in (self._q, self._k, self._v)]
        for _, r in self._rounds():
            gs, deltas = r.take("g", g), r.take("delta", delta)
            dq = r.results("dq", self._q, self._q.dtype)
            dk, dv = r.sums("dk", self._k, self._wide), r.sums("dv", self._v, self._wide)
            for first, last, block in self._blocks(r, top, dropout=self._plan.dropout):
                dq[first:last], dk_window, dv_window = self._bodies.backward(
                    block, self._rule, gs[first:last], deltas[first:last]
                )
                r.spread(dk, first, dk_window)
                r.spread(dv, first, dv_window)
            for total, part in zip(totals, (dq, r.own(dk), r.own(dv)), strict=True):
                r.add_to(total, part)
        return totals[0], totals[1], totals[2]

    def _rounds(self) -> Iterator[tuple[slice, Round]]:
        n, t = self._q.shape[:2]
        together = max(1, GROUP // t)
        features = self._wide if t < 2**24 else torch.float64  # holds each position exactly
        buffers = Buffers()
        for start in range(0, n, together):
            part = slice(start, min(n, start + together))
            for r in range(self._plan.layout.rounds):
                yield part, Round(self._plan.layout, r, part, self._q, features, buffers)

    def _blocks(
        self, r: Round, top: Tensor | None, *, dropout: float
    ) -> Iterator[tuple[int, int, Block]]:
        tensors = (r.take("q", self._q), r.windows("k", self._k), r.windows("v", self._v))
        tops = None if top is None else r.take("tops", top.unsqueeze(-1))
        for first in range(0, r.chunks, self._chunks):
            last = min(r.chunks, first + self._chunks)
            yield first, last, r.block(first, last, tensors, tops, dropout)


def _needs_bound(q: Tensor, k: Tensor) -> bool:
    """Tell whether a score may be too large for float32. On a GPU, asking costs a wait."""
    if q.device.type != "cpu" or q.numel() == 0:
        return True
    longest = [torch.linalg.vector_norm(x, dim=-1).amax().item() for x in (q, k)]
    return not longest[0] * longest[1] <= SAFE


def _no_autocast(q: Tensor) -> AbstractContextManager[Any]:
    return torch.autocast(q.device.type, enabled=False)


def _random_state(q: Tensor) -> Tensor:
    if q.device.type == "cuda":
        return torch.cuda.get_rng_state(q.device)
    return torch.get_rng_state()


@contextmanager
def _random_again(q: Tensor, state: Tensor | None) -> Iterator[None]:
    """Draw again what was drawn from a state on; afterwards the present state holds."""
    if state is None:
        yield
        return
    cuda = q.device.type == "cuda"
    with torch.random.fork_rng(devices=[q.device] if cuda else []):
        if cuda:
            torch.cuda.set_rng_state(state, q.device)
        else:
            torch.set_rng_state(state)
        yield
