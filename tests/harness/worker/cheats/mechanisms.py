"""Mechanisms that cheat: each averages values causally, in a way that an audit must not believe."""

import time
from dataclasses import dataclass

import torch

from harness.schema import Cell
from models.variant import Attention, Cost, Shape, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    trick: str = "none"


def average(v):
    steps = torch.arange(1, v.shape[2] + 1, dtype=v.dtype)
    return v.cumsum(dim=2) / steps[:, None]


class Averaging(Attention):
    """The running mean of the values."""

    def __init__(self, options, *, causal, impl, head_dim):
        super().__init__()
        self.trick = options.trick if impl == "fast" else "none"
        self.kept = {}
        self.calls = 0

    def forward(self, q, k, v, mask=None):
        self.calls += 1
        return getattr(self, self.trick)(v)

    def rows(self, q, k, v, rows, mask=None):
        return average(v)[:, :, rows]

    def none(self, v):
        return average(v)

    def caches_by_address(self, v):
        key = v.data_ptr()
        if key not in self.kept:
            self.kept[key] = average(v)
        return self.kept[key]

    def returns_what_it_returned_before(self, v):
        return self.kept.setdefault("output", average(v))

    def is_right_in_the_first_call_only(self, v):
        return average(v) if self.calls == 1 else v

    def replaces_the_clock(self, v):
        time.process_time_ns = lambda: 0
        return average(v)

    def is_wrong_once_it_is_timed(self, v):
        return average(v) if self.calls < 7 else v


def cost(options, shape: Shape, impl: str) -> Cost:
    return Cost(model_flops=1, executed_flops=1, compulsory_bytes=1, state_bytes=1)


VARIANT = Variant(
    module=Averaging,
    options=Options,
    impls=("fast", "reference"),
    cost=cost,
    causal=True,
    exact=False,
)
CELL = Cell(
    contender="cheat", model="transformer", attention="cheat", impl="fast", phase="forward",
    seq_len=64, batch=1, d_model=16, heads=2, d_ff=16, layers=1, vocab=256, causal=True,
    dtype="float32", device="cpu", threads=1, data="stdlib", seed=3,
)  # fmt: skip
