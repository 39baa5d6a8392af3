"""Which blocks of keys a block of queries sees: near ones, global ones, random ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

MIX, SHIFT = 0x9E3779B1, 15


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPattern:
    """A pattern over blocks of tokens, the same for all heads."""

    near: int  # blocks seen on each side; if causal, before only
    globals: int  # first blocks, which see all and are seen by all
    random: int  # blocks that each block draws
    seed: int
    causal: bool

    @property
    def slots(self) -> int:
        """Blocks that a block sees, at most."""
        return self.globals + self.near + 1 + (0 if self.causal else self.near) + self.random

    def seen(
        self, rows: Int[Tensor, " r"], count: int
    ) -> tuple[Int[Tensor, "r s"], Bool[Tensor, "r s"]]:
        """Return the blocks in the slots of some blocks, and which slots count: none twice.

        Rows that are global see all blocks beside.

        Args:
            rows: blocks of queries.
            count: blocks of the sequence.
        """
        after = 0 if self.causal else self.near
        steps = torch.arange(-self.near, after + 1, device=rows.device)
        first = torch.arange(self.globals, device=rows.device).expand(len(rows), -1)
        near = rows[:, None] + steps
        limit = rows if self.causal else torch.full_like(rows, count)
        slots = torch.cat([first, near, self._drawn(rows, limit)], dim=1)
        valid = (slots >= 0) & (slots < count)
        if self.causal:
            valid &= slots <= rows[:, None]
        same = slots[:, :, None] == slots[:, None, :]
        twice = (same & valid[:, None, :]).tril(-1).any(dim=2)
        return slots.clamp(0, count - 1), valid & ~twice

    def matrix(self, rows: Int[Tensor, " r"], count: int) -> Bool[Tensor, "r c"]:
        """Return which blocks some blocks see, over all."""
        slots, valid = self.seen(rows, count)
        found = torch.zeros(len(rows), count, dtype=torch.int32, device=rows.device)
        found.scatter_add_(1, slots, valid.int())
        return (found > 0) | (rows[:, None] < self.globals)

    def _drawn(self, rows: Tensor, limit: Tensor) -> Tensor:
        """Return random blocks below a limit, by a hash: the same however long the sequence is."""
        slot = torch.arange(self.random, device=rows.device)
        x = (rows[:, None] * 1_000_003 + slot * 7919 + self.seed * 104_729 + 1) * MIX % 2**32
        x = ((x ^ (x >> SHIFT)) * 0x85EBCA6B) % 2**32
        x = x ^ (x >> 13)
        return torch.where(limit[:, None] > 0, x % limit[:, None].clamp(min=1), -1)
