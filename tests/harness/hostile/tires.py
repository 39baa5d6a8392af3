"""Leaves the process after so many steps that it has been proven and is being timed."""

import os
from dataclasses import dataclass

from models.variant import Attention, Cost, Shape, Variant

STEPS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """None."""


def cost(options: Options, shape: Shape, impl: str) -> Cost:
    return Cost(model_flops=1, executed_flops=1, compulsory_bytes=1, state_bytes=1)


class Hostile(Attention):
    taken = 0

    def __init__(self, options: Options, *, causal: bool, impl: str, head_dim: int) -> None:
        super().__init__()
        self.impl = impl

    def forward(self, q, k, v, mask=None):
        Hostile.taken += 1
        if Hostile.taken > STEPS:
            os._exit(7)
        return v.clone()


VARIANT = Variant(
    module=Hostile, options=Options, impls=("reference",), cost=cost, causal=True, exact=False
)
