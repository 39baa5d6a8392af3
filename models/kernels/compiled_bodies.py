"""The bodies of chunked attention through torch.compile: one pass over the scores, not six.

Each kind of block (a rule, with or without bound and dropout) is traced once with a dynamic number
of chunks; sizes of chunk, window and head, and types, make kinds of their own. A process compiles a
kind when it first meets it, some seconds, and torch keeps the result on disk for the next one.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from models.kernels import block_bodies
from models.kernels.block_bodies import Block
from models.kernels.chunk_attention import Bodies
from models.kernels.pairs import PairRule


def missing() -> str | None:
    """Return what is missing to compile for a CPU, or None."""
    return _missing(os.environ.get("CXX"))


@functools.cache
def _missing(named: str | None) -> str | None:
    for compiler in (named,) if named else ("g++", "clang++", "c++"):
        if shutil.which(compiler):
            return None
    if named:
        return f"needs the C++ compiler that CXX names, and there is no {named!r}"
    return "needs a C++ compiler (g++ or clang++), and there is none"


def refuse(device: str) -> str | None:
    """Return why blocks on a type of device are not compiled."""
    return None if device == "cpu" else f"device is {device!r}; allowed: 'cpu'"


def _forward(block: Block, rule: PairRule, out: tuple[Tensor, Tensor]) -> None:
    value, total = _runner(_value_and_total, rule)(*_tensors(block))
    out[0].copy_(value)
    out[1].copy_(total)


def _backward(
    block: Block, rule: PairRule, g: Tensor, delta: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return _runner(_gradients, rule)(*_tensors(block, g, delta), g, delta)


def _value_and_total(rule: PairRule, *tensors: Any) -> tuple[Tensor, Tensor]:
    block = Block(*tensors)
    w = block_bodies.weights(block, rule, _wide(block))
    total = w.sum(dim=-1)
    if block.kept is not None:
        w = w * block.kept
    return torch.bmm(w.to(block.v.dtype), block.v), total


def _gradients(rule: PairRule, *tensors: Any) -> tuple[Tensor, Tensor, Tensor]:
    return block_bodies.backward(Block(*tensors[:-2]), rule, *tensors[-2:])


def _wide(block: Block) -> torch.dtype:
    return torch.promote_types(block.q.dtype, torch.float32)


def _tensors(block: Block, *others: Tensor) -> tuple[Any, ...]:
    """Return the parts of a block; the number of chunks is no constant of what is compiled."""
    parts = (block.q, block.k, block.v, *block.query, *block.key, block.top, block.kept, *others)
    for x in parts:
        if x is not None:
            torch._dynamo.maybe_mark_dynamic(x, 0)
    return (block.q, block.k, block.v, block.query, block.key, block.top, block.kept)


def _runner(function: Callable[..., Any], rule: PairRule) -> Callable[..., Any]:
    """Return a body, compiled; as it is where a dispatch mode watches, such as a FLOP counter.

    Dynamo compiles nothing there and would skip the body for the rest of the process.
    """
    if is_in_torch_dispatch_mode(include_infra_modes=False):
        return functools.partial(function, rule)
    return _compiled(function, rule)


@functools.cache
def _compiled(function: Callable[..., Any], rule: PairRule) -> Callable[..., Any]:
    import torch._dynamo  # noqa: PLC0415 - seconds, for those who compile only

    def body(*tensors: Any) -> Any:
        return function(rule, *tensors)

    # torch recompiles a code object eight times at most. Each rule has its own, for the sizes,
    # types and forms that it meets.
    name = f"{function.__name__}_{hash(rule):x}"
    body.__code__ = body.__code__.replace(co_name=name)
    return torch.compile(body, fullgraph=True)


COMPILED = Bodies(forward=_forward, backward=_backward, highest=block_bodies.highest)
