"""LSH attention in Triton: forward and exact backward, deterministic, linear in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.kernels.lsh_options import LSHOptions
from models.kernels.lsh_plan import LSHPlan
from models.kernels.triton_backward import lsh_attention_bwd_kernel
from models.kernels.triton_forward import lsh_attention_fwd_kernel
from models.kernels.triton_launch import launch
from models.kernels.triton_merge import (
    lsh_attention_bwd_delta_kernel,
    lsh_attention_bwd_sum_kernel,
    lsh_attention_fwd_merge_kernel,
)
from models.kernels.triton_rule import Rule
from models.kernels.triton_tiles import Need, backward_tiles, forward_tile

TOKENS, ROWS = (
    4096,
    64,
)  # elements and rows, at most, of a tile of the kernels that go through tokens


def attend(
    q: Float[Tensor, "b h t d"],
    v: Float[Tensor, "b h t d"],
    plan: LSHPlan,
    mask: Bool[Tensor, "b t"] | None,
    options: LSHOptions,
    *,
    causal: bool,
    scale: float,
    dropout: float,
) -> Float[Tensor, "b h t d"]:
    """Return the attention of the vectors; who meets no key keeps its own value.

    Beside inputs, output and plan it keeps 8 bytes a token and head for
    the backward, which gives the same bits each time. Kernels read rows by the sorted index: no
    sorted copy, no scores and no look-back copies reach the memory.
    """
    call = _Call(
        rule=Rule.of(options, rounds=plan.rounds, causal=causal),
        masked=mask is not None,
        scale=scale,
        dropout=dropout,
    )
    q, v = (_rows_in_one_piece(x) for x in (q, v))
    bucket = plan.bucket if call.rule.same_bucket else plan.place  # a pointer that nobody reads
    index = tuple(x.contiguous() for x in (plan.order, plan.place, bucket))
    seed = _draw_seed(q) if dropout else q
    return _Attention.apply(q, v, *index, q if mask is None else mask.contiguous(), seed, call)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    rule: Rule
    masked: bool
    scale: float
    dropout: float

    @property
    def need(self) -> Need:
        return "some" if self.dropout and self.rule.need == "little" else self.rule.need

    def constants(self, dim: int) -> dict[str, Any]:
        return {
            **self.rule.constants(),
            "D": dim,
            "MASKED": self.masked,
            "DROPOUT": self.dropout > 0,
            "PRECISION": "ieee",
        }


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        v: Tensor,
        order: Tensor,
        place: Tensor,
        bucket: Tensor,
        mask: Tensor,
        seed: Tensor,
        call: _Call,
    ) -> Tensor:
        b, h, n, d = q.shape
        sequences = b * h * call.rule.rounds
        rounds = q.new_empty(sequences, n, d)
        top, total = torch.empty(2, sequences, n, dtype=torch.float32, device=q.device)
        tile = forward_tile(call.rule.chunk, d, call.need)
        launch(
            lsh_attention_fwd_kernel,
            *(q, v, order, place, bucket, mask, seed, rounds, top, total),
            *(n, h, *q.stride()[:3], *v.stride()[:3]),
            *(call.scale * math.log2(math.e), call.dropout),
            sequences=sequences,
            length=n,
            **tile.constants(),
            **call.constants(d),
        )
        out = torch.empty_like(v)
        softmax = torch.empty(b * h, n, 2, dtype=torch.float32, device=q.device)
        launch(
            lsh_attention_fwd_merge_kernel,
            *(rounds, top, total, place, v, out, softmax, n, h, *v.stride()[:3], *out.stride()[:3]),
            sequences=b * h,
            length=n,
            rows=min(ROWS, TOKENS // d),
            ROUNDS=call.rule.rounds,
            D=d,
        )
        ctx.save_for_backward(q, v, out, order, place, bucket, mask, seed, softmax)
        ctx.call = call
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - the base has any number
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor | None, ...]:
        q, v, out, order, place, bucket, mask, seed, softmax = ctx.saved_tensors
        call, (b, h, n, d) = ctx.call, q.shape
        grad = _rows_in_one_piece(grad)
        delta = torch.empty(b * h, n, dtype=torch.float32, device=q.device)
        launch(
            lsh_attention_bwd_delta_kernel,
            *(out, grad, delta, n, h, *out.stride()[:3], *grad.stride()[:3]),
            sequences=b * h,
            length=n,
            rows=min(ROWS, TOKENS // d),
            D=d,
        )
        sequences = b * h * call.rule.rounds
        q_rounds, v_rounds = q.new_empty(sequences, n, d), q.new_empty(sequences, n, d)
        tiles = backward_tiles(call.rule.chunk, d, call.need)
        for half, tile in enumerate(tiles):
            launch(
                lsh_attention_bwd_kernel,
                *(q, v, grad, order, place, bucket, mask, seed, softmax, delta),
                *(q_rounds, v_rounds, n, h, *q.stride()[:3], *v.stride()[:3], *grad.stride()[:3]),
                *(call.scale, call.scale * math.log2(math.e), call.dropout),
                sequences=sequences,
                length=n,
                AS_KEYS=half == 0,
                AS_QUERIES=half == len(tiles) - 1,
                **tile.constants(),
                **call.constants(d),
            )
        dq, dv = torch.empty_like(q), torch.empty_like(v)
        launch(
            lsh_attention_bwd_sum_kernel,
            *(q_rounds, v_rounds, place, softmax, grad, dq, dv, n, h),
            *(*grad.stride()[:3], *dq.stride()[:3], *dv.stride()[:3]),
            sequences=b * h,
            length=n,
            rows=min(ROWS, TOKENS // d),
            ROUNDS=call.rule.rounds,
            D=d,
        )
        return dq, dv, None, None, None, None, None, None


def _rows_in_one_piece(x: Tensor) -> Tensor:
    return x if x.stride(3) == 1 else x.contiguous()


def _draw_seed(q: Tensor) -> Tensor:
    # On the device, by its generator: nothing waits, a captured graph draws anew, and a repeated
    # run whose random state was restored repeats it.
    return torch.randint(2**62, (), dtype=torch.int64, device=q.device)
