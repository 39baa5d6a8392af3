"""A mechanism for tests: each position is the mean of all values up to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from models.variant import Attention, Cost, Shape, Unsupported, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragingOptions:
    window: int = 8
    scale: float = 1.0
    kind: str | None = None


class Averaging(Attention):
    def __init__(self, options, *, causal, impl, head_dim):
        super().__init__()
        if impl == "flash":
            raise Unsupported("averaging: flash needs a device that nobody has")
        if options.window % 4:
            raise ValueError(f"window {options.window} is not a multiple of 4")
        self.scale = options.scale

    def forward(self, q, k, v, mask=None):
        count = torch.arange(1, v.shape[2] + 1, device=v.device, dtype=v.dtype)
        return self.scale * v.cumsum(2) / count[:, None]


def cost(options: AveragingOptions, shape: Shape, impl: str) -> Cost:
    width = shape.batch * shape.heads * shape.head_dim
    model_flops = 4 * shape.pairs * width
    return Cost(
        model_flops=model_flops,
        executed_flops=shape.seq_len * width,
        compulsory_bytes=2 * shape.seq_len * width * shape.itemsize,
        state_bytes=width * shape.itemsize,
    )


VARIANT = Variant(
    module=Averaging,
    options=AveragingOptions,
    impls=("reference", "eager", "flash"),
    cost=cost,
    causal=True,
    bidirectional=False,
    exact=False,
)
