"""FLOPs of a step as PyTorch counts them while it runs, and what its counter cannot see.

`torch.utils.flop_counter.FlopCounterMode` knows matrix products, convolutions and some fused
attention kernels. Its gaps (torch 2.11 to 2.13): fused attention on a CPU counts as nothing,
`flex_attention` raises TypeError, a kernel that is launched past PyTorch's dispatcher is invisible,
a causal mask is not halved. It forces eager dispatch, so it never runs inside a timed pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

# Operations that multiply matrices: what of them the counter has no formula for is a gap.
_MULTIPLIES = ("attention", "mm", "conv", "einsum", "bilinear", "mkldnn", "triton", "flex")
# How PyTorch says that no active mode handles an operator, as the counter with flex_attention.
_REFUSED = re.compile(r"(?:no implementation found|Multiple dispatch failed) for '([^']+)'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What was seen of one step."""

    flops: int | None = None  # None where the counter has a gap
    operand_bytes: int | None = None  # read and written by products, each operand once
    reason: str | None = None  # of the gap


def count(step: Callable[[], object]) -> Counted:
    """Run one step under the counter.

    `operand_bytes` is the memory traffic of the matrix products and fused attention kernels that
    ran, if each reads its operands and writes its result once and everything pointwise is fused
    into them: N x N scores are in it where an impl writes them out.
    """
    watch, counter = _Products(), FlopCounterMode(display=False)
    try:
        with watch, counter:
            step()
    except TypeError as error:
        found = _REFUSED.search(str(error))
        if found is None:
            raise
        return Counted(reason=_gap([found[1]]))
    except AssertionError as error:  # its hooks on modules that a backward of their own runs again
        if "gradient function" not in str(error):
            raise
        return Counted(reason="n/a (PyTorch's counter cannot follow this network's backward)")
    except torch.OutOfMemoryError:  # what a compiler fuses is written out under a dispatch mode
        return Counted(reason="n/a (out of memory while it was counted)")
    if watch.uncounted:
        return Counted(operand_bytes=watch.operand_bytes, reason=_gap(sorted(watch.uncounted)))
    return Counted(flops=counter.get_total_flops(), operand_bytes=watch.operand_bytes)


class _Products(TorchDispatchMode):
    """Notes the products that run: their operands, and whether the counter has a formula."""

    def __init__(self) -> None:
        super().__init__()
        self.uncounted: set[str] = set()
        self.operand_bytes = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = getattr(func, "_overloadpacket", func)
        if _multiplies(packet):
            # Of what a fused kernel returns, the first is the result and the rest is for backward.
            self.operand_bytes += _bytes(args) + _bytes(tree_leaves(out)[:1])
            if packet not in flop_registry:
                self.uncounted.add(str(packet))
        return out


def _multiplies(packet: Any) -> bool:
    name = str(packet).rpartition(".")[2]
    return packet in flop_registry or any(word in name for word in _MULTIPLIES)


def _bytes(tree: Any) -> int:
    return sum(leaf.nbytes for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def _gap(names: list[str]) -> str:
    return f"n/a (uncounted op: {', '.join(names)})"
