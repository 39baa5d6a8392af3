"""What attention layers do inside a network: hear them, and compare them with exact attention.

Every attention layer is heard while the network reads; then, for a sample of query rows, it is
compared with exact attention of the very same vectors. A mechanism with shared queries and keys is
compared with exact attention by its own rule (unit keys, itself only if alone).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from harness.worker.proof import sample_rows
from models.variant import VARIANTS, Attention, Unsupported

ROWS = 64  # query rows a layer that are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One attention layer and what it was given and gave."""

    attention: Attention
    q: Tensor
    k: Tensor
    v: Tensor
    output: Tensor


def spread_rows(seq_len: int, seed: int) -> Tensor:
    """Return at most `ROWS` positions from all over the sequence, the last among them."""
    rows = sample_rows(seq_len, torch.Generator().manual_seed(seed))
    return rows.flip(0)[:: math.ceil(len(rows) / ROWS)].flip(0)


def listen(model: nn.Module, read: Callable[[], object]) -> list[Heard]:
    """Run a network once and return its attention layers in order of their calls."""
    heard: list[Heard] = []

    def hear(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        assert isinstance(module, Attention)
        q, k, v = (x.detach().clone() for x in inputs[:3])
        heard.append(Heard(attention=module, q=q, k=k, v=v, output=output.detach().clone()))

    with _hooked(model, hear):
        read()
    return heard


@contextmanager
def _hooked(model: nn.Module, hook: Callable[..., None]) -> Iterator[None]:
    layers = [module for module in model.modules() if isinstance(module, Attention)]
    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def counterpart(
    attention: Attention, seq_len: int, head_dim: int
) -> Callable[[torch.dtype], Attention]:
    """Return what builds, in a dtype, the exact attention that a mechanism approximates.

    Full attention; for shared queries and keys the mechanism itself with a single chunk, in which
    everybody meets everybody.

    Raises:
        Unsupported: it shares queries and keys and has no chunk to widen.
    """
    options: Any = getattr(attention, "options", None)
    causal = bool(getattr(attention, "causal", True))
    if not attention.shared_qk:
        full = VARIANTS.load("full")
        return lambda dtype: full.module(
            full.options(), causal=causal, impl="eager", head_dim=head_dim
        ).to(dtype=dtype)
    if options is None or "chunk" not in {field.name for field in fields(options)}:
        name = type(attention).__name__
        raise Unsupported(f"error: no exact counterpart of {name} is known: it has no chunk")
    # One chunk over all is exact however buckets are made; `strict` would ask for their number.
    plain = {"strict": False} if hasattr(options, "strict") else {}
    wide = replace(options, chunk=seq_len, buckets=None, **plain)
    build: Any = type(attention)
    return lambda dtype: build(wide, causal=causal, impl="reference", head_dim=head_dim).to(
        dtype=dtype
    )


def weights(attention: Attention, q: Tensor, k: Tensor, rows: Tensor) -> Tensor:
    """Return the weights `[batch, heads, rows, keys]` that a mechanism gives to values.

    Whatever is linear in the values tells its weights when these are unit vectors: the keys are
    probed in blocks as wide as a head.
    """
    width = q.shape[-1]
    parts: list[Tensor] = []
    for begin in range(0, q.shape[2], width):
        probe = torch.zeros_like(q)
        keys = torch.arange(begin, min(begin + width, q.shape[2]), device=q.device)
        probe[:, :, keys, keys - begin] = 1
        parts.append(attention.rows(q, k, probe, rows)[..., : len(keys)])
    return torch.cat(parts, dim=-1)


def recall(mine: Tensor, exact: Tensor) -> float:
    """Return the mean over rows of the exact mass on keys to which `mine` gives any weight."""
    return torch.where(mine != 0, exact, torch.zeros_like(exact)).sum(dim=-1).mean().item()


def coverage(mine: Tensor, exact: Tensor) -> float:
    """Return the mean over rows of the keys that `mine` weighs over those that `exact` does."""
    return ((mine != 0).sum(dim=-1) / (exact != 0).sum(dim=-1).clamp(min=1)).mean().item()
