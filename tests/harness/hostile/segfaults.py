"""Reads where nothing is."""

import ctypes
from dataclasses import dataclass

from models.variant import Attention, Cost, Shape, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """None."""


def cost(options: Options, shape: Shape, impl: str) -> Cost:
    return Cost(model_flops=1, executed_flops=1, compulsory_bytes=1, state_bytes=1)


class Hostile(Attention):
    def __init__(self, options: Options, *, causal: bool, impl: str, head_dim: int) -> None:
        super().__init__()
        self.impl = impl

    def forward(self, q, k, v, mask=None):
        ctypes.string_at(0)
        return v


VARIANT = Variant(
    module=Hostile, options=Options, impls=("reference",), cost=cost, causal=True, exact=False
)
