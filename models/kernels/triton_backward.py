"""Triton kernel: the gradient of one round of LSH attention, without atomic additions.

With the maximum M and the sum of *all* rounds, `p_ij = exp2(s_ij - M_i) / W_i` is the weight of a
pair in the whole softmax, and `ds_ij = p_ij (g_i . v_j - delta_i)` its gradient, whatever round it
is in: rounds need not know of each other. One program owns a tile of places. As queries they get
the gradient from the keys of their window, as keys from the queries that see them; nobody else
writes there. Scores are computed once more for the keys' side, transposed, which costs 14 matrix
products in place of 12 and no exchange through shared memory.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from models.kernels.triton_keys import gradient_as_keys
from models.kernels.triton_queries import gradient_as_queries
from models.kernels.triton_rows import split_program


@no_type_check
@triton.jit
def lsh_attention_bwd_kernel(
    q: tl.tensor,
    v: tl.tensor,
    grad: tl.tensor,
    order: tl.tensor,
    place: tl.tensor,
    bucket: tl.tensor,
    mask: tl.tensor,
    seed: tl.tensor,
    softmax: tl.tensor,
    delta: tl.tensor,
    q_rounds: tl.tensor,
    v_rounds: tl.tensor,
    n: tl.tensor,
    heads: tl.tensor,
    q_batch: tl.tensor,
    q_head: tl.tensor,
    q_row: tl.tensor,
    v_batch: tl.tensor,
    v_head: tl.tensor,
    v_row: tl.tensor,
    grad_batch: tl.tensor,
    grad_head: tl.tensor,
    grad_row: tl.tensor,
    scale: tl.tensor,
    turned: tl.tensor,
    dropout: tl.tensor,
    AS_KEYS: tl.constexpr,
    AS_QUERIES: tl.constexpr,
    D: tl.constexpr,
    ROWS: tl.constexpr,
    OTHERS: tl.constexpr,
    MASKED: tl.constexpr,
    DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr,
    ROUNDS: tl.constexpr,
    CHUNK: tl.constexpr,
    BEFORE: tl.constexpr,
    AFTER: tl.constexpr,
    CAUSAL: tl.constexpr,
    SAME_BUCKET: tl.constexpr,
    REACH: tl.constexpr,
    COUNT_ONCE: tl.constexpr,
) -> None:
    """Write the gradients [b h r, n, D] of vectors and values at ROWS places of a round.

    `scale` is that of the scores, `turned` the same in base 2. Without AS_QUERIES only the keys'
    part is written; without AS_KEYS that part is read and the rest is added. The keys' part comes
    first: it is the larger, and what it leaves is the other's accumulator.
    """
    tiles = tl.cdiv(n, ROWS)
    tile, sequence, turn, head, b, h = split_program(tiles, ROUNDS, heads)
    order, mask = order + sequence * n, mask + b * n
    place, bucket = place + head * ROUNDS * n, bucket + head * ROUNDS * n
    q, v = q + b * q_batch + h * q_head, v + b * v_batch + h * v_head
    grad += b * grad_batch + h * grad_head
    softmax, delta = softmax + head * n * 2, delta + head * n

    at = tile * ROWS + tl.arange(0, ROWS)
    written = (sequence * n + at)[:, None] * D + tl.arange(0, D)[None, :]
    held = (at < n)[:, None]
    if AS_KEYS:
        dq, dv = gradient_as_keys(
            q,
            v,
            grad,
            order,
            place,
            bucket,
            mask,
            seed,
            softmax,
            delta,
            sequence,
            turn,
            tile,
            n,
            q_row,
            v_row,
            grad_row,
            scale,
            turned,
            dropout,
            D,
            ROWS,
            OTHERS,
            MASKED,
            DROPOUT,
            PRECISION,
            ROUNDS,
            CHUNK,
            BEFORE,
            AFTER,
            CAUSAL,
            SAME_BUCKET,
            REACH,
            COUNT_ONCE,
        )
        tl.store(v_rounds + written, dv.to(v_rounds.dtype.element_ty), mask=held)
    else:
        dq = tl.load(q_rounds + written, mask=held, other=0.0).to(tl.float32)
    if AS_QUERIES:
        dq = gradient_as_queries(
            dq,
            q,
            v,
            grad,
            order,
            place,
            bucket,
            mask,
            seed,
            softmax,
            delta,
            sequence,
            turn,
            tile,
            n,
            q_row,
            v_row,
            grad_row,
            scale,
            turned,
            dropout,
            D,
            ROWS,
            OTHERS,
            MASKED,
            DROPOUT,
            PRECISION,
            ROUNDS,
            CHUNK,
            BEFORE,
            AFTER,
            CAUSAL,
            SAME_BUCKET,
            REACH,
            COUNT_ONCE,
        )
    tl.store(q_rounds + written, dq.to(q_rounds.dtype.element_ty), mask=held)
