"""The impl `flex` of LSH attention: FlexAttention over sorted copies. See `lsh_dispatch`.

Rounds are heads of one call, in blocks of 128 places; chunks, causality and padding are in the mask
function, so that the block lists only leave out what nobody meets. The rounds' outputs are added by
their log-sum-exps, whose gradient FlexAttention gives. It is the cross-check of `triton` on a
device: compiled by PyTorch, with the same result, and with sorted copies of everything in memory.
"""

from __future__ import annotations

import copy
import functools
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, no_type_check

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention
from torch.nn.functional import pad

from models.kernels.lsh_dispatch import Call
from models.kernels.lsh_options import LSHOptions
from models.kernels.lsh_plan import LSHPlan
from models.kernels.padding import tell_apart
from models.kernels.permute import permute
from models.kernels.unit_keys import unit_keys
from models.kernels.windows import Window

BLOCK = 128  # places; on Hopper no backward of FlexAttention takes 64 (torch 2.11 to 2.13)
RECOMPILES = 64  # lengths and windows that a process may compile for
DTYPES = (torch.bfloat16, torch.float16, torch.float32)
_Mask = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def missing() -> str | None:
    """Return what this machine lacks: a CUDA device."""
    if torch.cuda.is_available():
        return None
    return (
        "needs a CUDA device; on a CPU FlexAttention has no backward, and compiled no log-sum-exp "
        "(torch 2.11 to 2.13)"
    )


def refuse(call: Call, options: LSHOptions) -> str | None:
    """Return why FlexAttention cannot compute a call."""
    if call.device != "cuda":
        return f"the device is {call.device}; allowed: cuda"
    if call.dropout:
        return f"dropout is {call.dropout}; FlexAttention has none"
    if options.count_once:
        return "count_once is not expressed as a score function; chunked and triton have it"
    if call.dtype not in DTYPES:
        return f"dtype is {call.dtype}; allowed: {', '.join(map(str, DTYPES))}"
    if call.head_dim < 16 or call.head_dim & (call.head_dim - 1):
        return f"head_dim is {call.head_dim}; allowed: powers of two from 16"
    return None


def attend(
    q: Float[Tensor, "b h t d"],
    v: Float[Tensor, "b h t d"],
    plan: LSHPlan,
    mask: Bool[Tensor, "b t"] | None,
    options: LSHOptions,
    *,
    causal: bool,
    scale: float,
    dropout: float,  # noqa: ARG001 - refused unless 0
) -> Float[Tensor, "b h t d"]:
    """Return the attention; on a CPU, to check it, values alone and with all scores in memory."""
    b, h, t, d = q.shape
    order, place = plan.order, plan.place
    positions = order
    if mask is not None:
        shown = mask[:, None, None].expand(order.shape).gather(-1, order.long())
        positions = tell_apart(order, shown)
    fill = -t % BLOCK
    positions = pad(positions.flatten(1, 2), (0, fill), value=t)
    bucket = pad(plan.bucket.gather(-1, order.long()).flatten(1, 2), (0, fill))

    window = options.window.clipped(t)
    blocks = copy.copy(_blocks(t + fill, window, str(q.device)))
    blocks.mask_mod = _rule(positions, bucket, window, options, t, causal=causal)
    copies = [_sorted(x, order, place, fill) for x in (q, unit_keys(q), v)]
    with _settings(q):
        part, aux = _flex(q)(
            *copies, block_mask=blocks, scale=scale, return_aux=AuxRequest(lse=True)
        )
    part = part[:, :, :t].reshape(-1, t, d)
    part = permute(part, place.reshape(-1, t), order.reshape(-1, t)).view(b, h, -1, t, d)
    lse = aux.lse[:, :, :t].unflatten(1, (h, -1)).gather(-1, place.long())
    met = (lse > -math.inf).any(dim=2)
    weights = lse.masked_fill(~met.unsqueeze(2), 0).softmax(dim=2)
    mean = (weights.unsqueeze(-1) * part).sum(dim=2)
    return torch.where(met.unsqueeze(-1), mean.to(v.dtype), v)


def _sorted(x: Tensor, order: Tensor, place: Tensor, fill: int) -> Tensor:
    b, h, r, t = order.shape
    rounds = x.unsqueeze(2).expand(b, h, r, t, x.shape[-1]).reshape(b * h * r, t, -1)
    out = permute(rounds, order.reshape(-1, t), place.reshape(-1, t))
    return pad(out.view(b, h * r, t, -1), (0, 0, 0, fill))


@no_type_check  # what PyTorch traces must not be wrapped by a checker
def _rule(
    positions: Int[Tensor, "b n p"],
    bucket: Int[Tensor, "b n p"],
    window: Window,
    options: LSHOptions,
    t: int,
    *,
    causal: bool,
) -> _Mask:
    chunk, before, after = window.chunk, window.before, window.after
    reach = options.before * options.chunk if options.strict else 0
    same_bucket = options.same_bucket or options.strict

    def met(b: Tensor, n: Tensor, i: Tensor, j: Tensor) -> Tensor:
        own, other = positions[b, n, i], positions[b, n, j]
        allowed = other < own if causal else (other != own) & (other < t)
        if reach:
            near = (i > j) & (i - j <= reach)
        else:
            apart = j // chunk - i // chunk
            near = (apart >= -before) & (apart <= after)
        if same_bucket:
            near = near & (bucket[b, n, i] == bucket[b, n, j])
        return allowed & near

    return met


@functools.lru_cache(maxsize=8)
def _blocks(places: int, window: Window, device: str) -> BlockMask:
    """Return the lists of blocks that a block of places sees, without a mask function."""
    count, c = places // BLOCK, window.chunk
    first = torch.arange(count, device=device) * BLOCK
    low = ((first // c - window.before) * c).clamp(min=0) // BLOCK
    last = ((first + BLOCK - 1) // c + window.after + 1) * c - 1
    high = (last // BLOCK).clamp(max=count - 1)
    seen = low[:, None] + torch.arange(count, device=device, dtype=torch.int32)
    return BlockMask.from_kv_blocks(
        (high - low + 1).to(torch.int32)[None, None],
        seen.clamp(max=count - 1).to(torch.int32)[None, None],  # past its number nobody looks
        BLOCK_SIZE=BLOCK,
        seq_lengths=(places, places),
    )


@functools.cache
def _compiled() -> Any:
    return torch.compile(flex_attention, dynamic=False)


def _flex(q: Tensor) -> Any:
    return _compiled() if q.is_cuda else flex_attention


@contextmanager
def _settings(q: Tensor) -> Iterator[None]:
    if not q.is_cuda:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "flex_attention called without torch.compile")
            yield
        return
    # Rather an error than the uncompiled form, which ignores the lists and writes scores out.
    config = torch._dynamo.config
    with config.patch(recompile_limit=RECOMPILES, fail_on_recompile_limit_hit=True):
        yield
