"""A network around a task: the same for every attention mechanism, which is all that differs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.worker.task import IGNORED, Batch, Task


class Shell(nn.Module):
    """Answers a task with a network that maps tokens to logits of its vocabulary.

    A task about tokens takes the logits as they are; one about sequences their mean over tokens,
    which for a linear head is the head of the mean state; one about pairs a linear layer over
    `[a, b, a * b, a - b]` of two such means, each sequence read by itself (Tay et al. 2021, "Long
    Range Arena", retrieval). Classes are the first places of the vocabulary.
    """

    def __init__(self, network: nn.Module, task: Task, vocab: int) -> None:
        super().__init__()
        self.network = network
        self.kind = task.kind
        self.pair = nn.Linear(4 * vocab, 2) if task.kind == "pair" else None

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return logits: `[batch, time, vocab]`, or `[batch, vocab]` of a task about sequences."""
        if self.kind == "tokens":
            return self._logits(tokens, mask)
        if self.pair is None:
            return _mean(self._logits(tokens, mask), mask)
        flat = None if mask is None else mask.flatten(0, 1)
        read = _mean(self._logits(tokens.flatten(0, 1), flat), flat)
        a, b = read.unflatten(0, (-1, 2)).unbind(1)
        return self.pair(torch.cat([a, b, a * b, a - b], dim=-1))

    def _logits(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        return self.network(tokens) if mask is None else self.network(tokens, mask=mask)


def loss(logits: Tensor, batch: Batch) -> Tensor:
    """Return the mean cross-entropy of what is asked, in float32 at least."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return functional.cross_entropy(
        wide.flatten(0, -2), batch.targets.flatten(), ignore_index=IGNORED
    )


def _mean(logits: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return logits.mean(dim=1)
    shown = mask.unsqueeze(-1)
    return logits.masked_fill(~shown, 0).sum(dim=1) / shown.sum(dim=1)
