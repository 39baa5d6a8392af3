"""Triton kernels that put rounds together: by the inverse order, each token in one program."""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl


@no_type_check
@triton.jit
def lsh_attention_fwd_merge_kernel(
    rounds: tl.tensor,
    top: tl.tensor,
    total: tl.tensor,
    place: tl.tensor,
    v: tl.tensor,
    out: tl.tensor,
    softmax: tl.tensor,
    n: tl.tensor,
    heads: tl.tensor,
    v_batch: tl.tensor,
    v_head: tl.tensor,
    v_row: tl.tensor,
    out_batch: tl.tensor,
    out_head: tl.tensor,
    out_row: tl.tensor,
    ROUNDS: tl.constexpr,
    D: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:
    """Add the rounds' sums as one softmax; a token that met no key takes its own value.

    `out_i = sum_r w_ir rounds_ir / W_i`, `w_ir = total_ir exp2(top_ir - M_i)`, `M_i` the largest
    top. `softmax [b h, n, 2]` gets M and 1 / W, both 0 where no key was met.
    """
    head, t, held, columns, b, h = _tokens(n, heads, ROWS, D)
    highest = tl.full([ROWS], -float("inf"), tl.float32)
    for r in range(ROUNDS):
        row = (head * ROUNDS + r) * n
        at = row + tl.load(place + row + t, mask=held, other=0)
        highest = tl.maximum(highest, tl.load(top + at, mask=held, other=-float("inf")))
    base = tl.where(highest == -float("inf"), 0.0, highest)

    weight = tl.zeros([ROWS], tl.float32)
    value = tl.zeros([ROWS, D], tl.float32)
    for r in range(ROUNDS):
        row = (head * ROUNDS + r) * n
        at = row + tl.load(place + row + t, mask=held, other=0)
        share = tl.load(total + at, mask=held, other=0.0)
        share *= tl.exp2(tl.load(top + at, mask=held, other=-float("inf")) - base)
        part = tl.load(rounds + at[:, None] * D + columns, mask=held[:, None], other=0.0)
        value += share[:, None] * part.to(tl.float32)
        weight += share

    met = weight > 0
    inverse = tl.where(met, 1.0 / tl.where(met, weight, 1.0), 0.0)
    own = v + b * v_batch + h * v_head + t.to(tl.int64)[:, None] * v_row + columns
    alone = tl.load(own, mask=(held & (weight == 0))[:, None], other=0.0).to(tl.float32)
    value = value * inverse[:, None] + alone
    rows = out + b * out_batch + h * out_head + t.to(tl.int64)[:, None] * out_row + columns
    tl.store(rows, value.to(out.dtype.element_ty), mask=held[:, None])
    tl.store(softmax + (head * n + t) * 2, base, mask=held)
    tl.store(softmax + (head * n + t) * 2 + 1, inverse, mask=held)


@no_type_check
@triton.jit
def lsh_attention_bwd_delta_kernel(
    out: tl.tensor,
    grad: tl.tensor,
    delta: tl.tensor,
    n: tl.tensor,
    heads: tl.tensor,
    out_batch: tl.tensor,
    out_head: tl.tensor,
    out_row: tl.tensor,
    grad_batch: tl.tensor,
    grad_head: tl.tensor,
    grad_row: tl.tensor,
    D: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:
    """Return `delta_i = out_i . grad_i [b h, n]`, which the softmax's gradient takes away."""
    head, t, held, columns, b, h = _tokens(n, heads, ROWS, D)
    at = t.to(tl.int64)[:, None]
    o = tl.load(out + b * out_batch + h * out_head + at * out_row + columns, held[:, None], 0.0)
    g = tl.load(grad + b * grad_batch + h * grad_head + at * grad_row + columns, held[:, None], 0.0)
    tl.store(delta + head * n + t, tl.sum(o.to(tl.float32) * g.to(tl.float32), axis=1), mask=held)


@no_type_check
@triton.jit
def lsh_attention_bwd_sum_kernel(
    q_rounds: tl.tensor,
    v_rounds: tl.tensor,
    place: tl.tensor,
    softmax: tl.tensor,
    grad: tl.tensor,
    q_grad: tl.tensor,
    v_grad: tl.tensor,
    n: tl.tensor,
    heads: tl.tensor,
    grad_batch: tl.tensor,
    grad_head: tl.tensor,
    grad_row: tl.tensor,
    q_batch: tl.tensor,
    q_head: tl.tensor,
    q_row: tl.tensor,
    v_batch: tl.tensor,
    v_head: tl.tensor,
    v_row: tl.tensor,
    ROUNDS: tl.constexpr,
    D: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:
    """Sum the gradients of the rounds, each at the place of the token; nothing is added twice.

    The value of a token that met no key was its output, so that it gets the output's gradient.
    """
    head, t, held, columns, b, h = _tokens(n, heads, ROWS, D)
    at_t = t.to(tl.int64)[:, None]
    inverse = tl.load(softmax + (head * n + t) * 2 + 1, mask=held, other=1.0)
    own = grad + b * grad_batch + h * grad_head + at_t * grad_row + columns
    dv = tl.load(own, mask=(held & (inverse == 0))[:, None], other=0.0).to(tl.float32)
    dq = tl.zeros([ROWS, D], tl.float32)
    for r in range(ROUNDS):
        row = (head * ROUNDS + r) * n
        at = row + tl.load(place + row + t, mask=held, other=0)
        at = at[:, None] * D + columns
        dq += tl.load(q_rounds + at, mask=held[:, None], other=0.0).to(tl.float32)
        dv += tl.load(v_rounds + at, mask=held[:, None], other=0.0).to(tl.float32)
    to_q = q_grad + b * q_batch + h * q_head + at_t * q_row + columns
    to_v = v_grad + b * v_batch + h * v_head + at_t * v_row + columns
    tl.store(to_q, dq.to(q_grad.dtype.element_ty), mask=held[:, None])
    tl.store(to_v, dv.to(v_grad.dtype.element_ty), mask=held[:, None])


@no_type_check
@triton.jit
def _tokens(n: tl.tensor, heads: tl.tensor, ROWS: tl.constexpr, D: tl.constexpr) -> tl.tensor:
    """Return row of the batch times head, ROWS positions, which exist, columns, row, head."""
    program = tl.program_id(0)
    tiles = tl.cdiv(n, ROWS)
    tile, head = program % tiles, (program // tiles).to(tl.int64)
    t = tile * ROWS + tl.arange(0, ROWS)
    return head, t, t < n, tl.arange(0, D)[None, :], head // heads, head % heads
