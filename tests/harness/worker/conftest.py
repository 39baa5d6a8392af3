"""A small network and a small mechanism in place of the real ones, and a job that names them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from harness.schema import Cell, Job, Protocol
from models.model import Model, ModelCost

PLUGIN = Path(__file__).parent / "plugins" / "averaging.py"
FAST = Protocol(warmups=1, min_samples=3, max_samples=5, min_time_s=0.0, max_time_s=5.0)
CELL = Cell(
    contender="averaging",
    model="transformer",
    attention="averaging",
    impl="auto",
    phase="forward",
    seq_len=64,
    batch=2,
    d_model=32,
    heads=4,
    d_ff=64,
    layers=2,
    vocab=256,
    causal=True,
    dtype="float32",
    device="cpu",
    threads=1,
    data="stdlib",
    seed=7,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyOptions:
    depth: int = 1
    extra_draws: int = 0


class Tiny(nn.Module):
    def __init__(self, size, options, variant, variant_options, impl):
        super().__init__()
        if size.max_len % 8:
            raise ValueError(f"length {size.max_len} is not a multiple of 8")
        for _ in range(options.extra_draws):
            torch.randn(3, 5)
        self.heads = size.heads
        self.embedding = nn.Embedding(size.vocab, size.d_model)
        self.value = nn.Linear(size.d_model, size.d_model)
        self.attention = variant.module(
            variant_options, causal=size.causal, impl=impl, head_dim=size.head_dim
        )
        self.head = nn.Linear(size.d_model, size.vocab)

    def forward(self, tokens):
        x = self.embedding(tokens)
        v = self.value(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return self.head(x + self.attention(v, v, v).transpose(1, 2).flatten(2))


def tiny_cost(size, options, variant, variant_options, impl, batch, seq_len, itemsize):
    flops = batch * seq_len * size.d_model * size.d_model
    return ModelCost(
        model_flops=flops,
        executed_flops=2 * flops,
        train_model_flops=3 * flops,
        train_executed_flops=6 * flops,
        state_bytes=itemsize * size.d_model,
        attention_bytes=4 * itemsize * batch * seq_len * size.d_model,
        product_elements=batch * seq_len * (2 * size.d_model + size.vocab),
    )


@pytest.fixture
def tiny_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for `models.transformer`."""
    module: Any = ModuleType("models.transformer")
    module.MODEL = Model(attention="averaging", options=TinyOptions, build=Tiny, cost=tiny_cost)
    monkeypatch.setitem(sys.modules, "models.transformer", module)


@pytest.fixture
def job(tiny_model: None) -> Callable[..., Job]:
    """Make a job of the small cell, with fields of the cell or the job replaced."""

    def make(**changes: Any) -> Job:
        fields = {name: changes.pop(name) for name in list(changes) if name in Job.__slots__}
        base = Job(cell=replace(CELL, **changes), metrics=(), protocol=FAST, plugins=(str(PLUGIN),))
        return replace(base, **fields)

    return make
