"""How a network is trained, the same for every contender: AdamW, warm-up, cosine, clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

BETAS = (0.9, 0.98)  # as in the authors' configurations
CLIP = 1.0  # largest norm of all gradients together
LAST = 0.02  # of the learning rate, at the last step


def factor(step: int, steps: int, warmup: int) -> float:
    """Return the share of the learning rate at a step: linear up, then a cosine down to `LAST`."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return LAST + (1 - LAST) * (1 + math.cos(math.pi * min(1.0, progress))) / 2


def optimizer(parameters: Iterable[nn.Parameter], weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW; weights are float32 whatever the products are computed in."""
    return torch.optim.AdamW(parameters, lr=0.0, betas=BETAS, weight_decay=weight_decay)


def update(network: nn.Module, chosen: torch.optim.Optimizer, scaler: Any, rate: float) -> None:
    """Clip the gradients and take a step with a learning rate; then drop the gradients.

    `scaler` is a gradient scaler, or None: it skips steps whose gradients overflow in float16.
    """
    for group in chosen.param_groups:
        group["lr"] = rate
    if scaler is not None:
        scaler.unscale_(chosen)
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    if scaler is None:
        chosen.step()
    else:
        scaler.step(chosen)
        scaler.update()
    chosen.zero_grad(set_to_none=True)
