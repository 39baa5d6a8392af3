"""Queries and keys sorted by one hash, block against block, and a sample of the other keys."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from models.kernels.permute import permute
from models.kernels.windows import PartialSoftmax


@dataclass(frozen=True, slots=True, kw_only=True)
class SortedBlocks:
    """Who meets whom, and with which weight, in `n` problems of the same size."""

    query_order: Int[Tensor, "n t"]  # position of the query at each sorted place
    query_place: Int[Tensor, "n t"]  # its inverse
    key_order: Int[Tensor, "n s"]
    key_place: Int[Tensor, "n s"]
    sample: Int[Tensor, "n m"]  # positions of the sampled keys
    sampled: Bool[Tensor, "n m"]  # which of these are keys: a row may have fewer
    shown: Bool[Tensor, "n s"]  # which keys are tokens
    factor: Float[Tensor, "n c"]  # weight of a sampled key for queries whose block it is not in
    block: int  # keys of a block
    rows: int  # queries of a block

    @property
    def count(self) -> int:
        """Blocks of a problem."""
        return self.factor.shape[1]

    def weights(self, queries: Int[Tensor, "n r"]) -> Float[Tensor, "n r s"]:
        """Return the weight of each key for some queries, by the definition: 1 in the own block."""
        own = self.query_place.gather(1, queries) // self.rows
        apart = own[:, :, None] != (self.key_place // self.block)[:, None, :]
        drawn = torch.zeros_like(self.shown).scatter(1, self.sample, self.sampled)
        outside = self.factor.gather(1, own)[:, :, None] * drawn[:, None, :]
        return torch.where(apart, outside, 1.0) * self.shown[:, None, :]


@torch.no_grad()
def sort_blocks(
    q: Float[Tensor, "n t d"],
    k: Float[Tensor, "n s d"],
    tokens: Bool[Tensor, "n t"],
    shown: Bool[Tensor, "n s"],
    *,
    block: int,
    samples: int,
    bits: int,
    seed: int,
) -> SortedBlocks:
    """Hash, sort, cut into blocks and draw a sample.

    A block weighs 1. The keys outside of a query's block, `K` all keys less those in it, are
    estimated by the sampled keys outside of it: each weighs their number over the sample's.

    Args:
        q: queries.
        k: keys.
        tokens: which queries are tokens; the others sort last.
        shown: which keys are tokens; the others sort last and weigh nothing.
        block: keys of a block, at most.
        samples: keys to draw, at most.
        bits: planes of the hash.
        seed: of planes and sample, the same in all problems.
    """
    length = k.shape[1]
    generator = torch.Generator("cpu").manual_seed(seed)
    planes = torch.randn(q.shape[2], bits, generator=generator, device="cpu").to(q.device)
    with torch.autocast(q.device.type, enabled=False):
        query_order, query_place = _sorted(q, planes, tokens)
        key_order, key_place = _sorted(k, planes, shown)
    count = -(-length // block)
    chance = torch.rand(length, generator=generator, device="cpu").to(q.device)
    chance = chance.expand(len(k), -1).masked_fill(~shown, 2)
    sample = chance.topk(min(samples, length), dim=1, largest=False).indices
    sampled = shown.gather(1, sample)
    inside = key_place.gather(1, sample) // block
    per_block = _count(inside, sampled, count)
    sizes = _count(key_place // block, shown, count)
    others = shown.sum(dim=1, keepdim=True) - sizes
    drawn = sampled.sum(dim=1, keepdim=True) - per_block
    return SortedBlocks(
        query_order=query_order,
        query_place=query_place,
        key_order=key_order,
        key_place=key_place,
        sample=sample,
        sampled=sampled,
        shown=shown,
        factor=torch.where(drawn > 0, others / drawn.clamp(min=1), 0.0),
        block=block,
        rows=-(-q.shape[1] // count),
    )


def attend_blocks(
    q: Float[Tensor, "n t d"],
    k: Float[Tensor, "n s d"],
    v: Float[Tensor, "n s d"],
    plan: SortedBlocks,
) -> PartialSoftmax:
    """Return the weighted sums of `exp(q_i . k_j)` and of these times `v_j`; q is scaled."""
    n, t, d = q.shape
    wide = torch.promote_types(q.dtype, torch.float32)
    queries = permute(q, plan.query_order, plan.query_place)
    keys, values = (permute(x, plan.key_order, plan.key_place) for x in (k, v))
    queries = _blocks(queries, plan.count, plan.rows)
    keys, values = (_blocks(x, plan.count, plan.block) for x in (keys, values))
    known = plan.shown.gather(1, plan.key_order)
    known = _blocks(known.unsqueeze(-1), plan.count, plan.block).mT  # [n, c, 1, block]
    near = (queries @ keys.mT).to(wide).masked_fill(~known, -math.inf)

    chosen = plan.sample.unsqueeze(-1).expand(-1, -1, d)
    some_keys, some_values = (x.gather(1, chosen).unsqueeze(1) for x in (k, v))
    own = plan.key_place.gather(1, plan.sample) // plan.block
    blocks = torch.arange(plan.count, device=q.device)
    apart = (own[:, None, :] != blocks[:, None]) & plan.sampled[:, None, :]
    factor = (plan.factor[:, :, None] * apart).to(wide).log().unsqueeze(2)  # [n, c, 1, m]
    far = (queries @ some_keys.mT).to(wide) + factor

    top = torch.maximum(near.detach().amax(-1, keepdim=True), far.detach().amax(-1, keepdim=True))
    safe = top.masked_fill(top == -math.inf, 0)
    near, far = (near - safe).exp(), (far - safe).exp()
    value = near.to(v.dtype) @ values + far.to(v.dtype) @ some_values
    total = near.sum(dim=-1, keepdim=True) + far.sum(dim=-1, keepdim=True)
    place = plan.query_place
    return PartialSoftmax(
        top=top.view(n, -1)[:, :t].gather(1, place),
        total=total.view(n, -1)[:, :t].gather(1, place),
        value=permute(value.view(n, -1, d)[:, :t], place, plan.query_order),
    )


def pairs(*, queries: int, keys: int, block: int, samples: int) -> int:
    """Return the pairs that `attend_blocks` computes in one problem."""
    count = -(-keys // block)
    return count * -(-queries // count) * (block + min(samples, keys))


def _sorted(x: Tensor, planes: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Sort by the hash, stably: order and its inverse.

    The hash is the sides of the planes on which a vector lies, counted in Gray's order: codes
    that follow each other differ in one plane ("HyperAttention", section 2.1).
    """
    bits = planes.shape[1]
    sides = (x.detach().float() @ planes > 0).long()
    code = (sides << torch.arange(bits, device=x.device)).sum(dim=-1)
    shift = 1
    while shift < bits:
        code = code ^ (code >> shift)
        shift *= 2
    order = code.masked_fill(~tokens, 2**bits).sort(dim=1, stable=True).indices
    places = torch.arange(x.shape[1], device=x.device).expand_as(order)
    return order, torch.empty_like(order).scatter_(1, order, places)


def _count(group: Tensor, counted: Tensor, groups: int) -> Tensor:
    zeros = torch.zeros(len(group), groups, dtype=torch.long, device=group.device)
    return zeros.scatter_add_(1, group, counted.long())


def _blocks(x: Tensor, count: int, size: int) -> Tensor:
    return pad(x, (0, 0, 0, count * size - x.shape[1])).unflatten(1, (count, size))
