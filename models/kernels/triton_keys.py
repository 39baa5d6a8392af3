"""The keys' part of the gradient of a round: a Triton device function."""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from models.kernels.triton_rows import inverse_lengths, positions_at, rows_at, shown_of
from models.kernels.triton_rule import kept, ruled


@no_type_check
@triton.jit
def gradient_as_keys(
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
    sequence: tl.tensor,
    turn: tl.tensor,
    tile: tl.tensor,
    n: tl.tensor,
    q_row: tl.tensor,
    v_row: tl.tensor,
    grad_row: tl.tensor,
    scale: tl.tensor,
    turned: tl.tensor,
    dropout: tl.tensor,
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
) -> tl.tensor:
    """Return the gradients [ROWS, D] of vectors and values from the queries that see them.

    `dv_j = sum_i p_ij g_i`, `dk_j = scale sum_i ds_ij q_i`, and through `k = q / |q|` to q. Scores
    are computed transposed. `turned` is the scale in base 2.
    """
    CHUNKS: tl.constexpr = (ROWS + CHUNK - 1) // CHUNK
    WINDOW: tl.constexpr = (BEFORE + 1 + AFTER) * CHUNK
    TILES: tl.constexpr = (WINDOW + (CHUNKS - 1) * CHUNK + OTHERS - 1) // OTHERS
    chunk = tile * ROWS // CHUNK
    at = tile * ROWS + tl.arange(0, ROWS)
    own = positions_at(order, at, 0, n, n)
    rows = rows_at(q, own, q_row, n, D)
    first = tl.maximum(chunk - AFTER, 0) * CHUNK
    end = tl.minimum((chunk + CHUNKS + BEFORE) * CHUNK, n)
    own_values = rows_at(v, own, v_row, n, D)
    own_lengths = inverse_lengths(rows, D)
    shown = shown_of(mask, own, n, MASKED)
    dk = tl.zeros([ROWS, D], tl.float32)
    dv = tl.zeros([ROWS, D], tl.float32)
    for step in range(TILES):
        at_i = (chunk - AFTER) * CHUNK + step * OTHERS + tl.arange(0, OTHERS)
        i = positions_at(order, at_i, first, end, n)
        query = rows_at(q, i, q_row, n, D)
        turned_scores = tl.dot(rows, tl.trans(query), input_precision=PRECISION)
        turned_scores *= (own_lengths * turned)[:, None]
        turned_scores = ruled(
            turned_scores,
            i[None, :],
            shown[:, None],
            at_i[None, :],
            at[:, None],
            place,
            bucket,
            turn,
            n,
            ROUNDS,
            CHUNK,
            BEFORE,
            AFTER,
            CAUSAL,
            SAME_BUCKET,
            REACH,
            COUNT_ONCE,
            CHUNKS,
        )
        tops = tl.load(softmax + i * 2, mask=i < n, other=0.0)
        shares = tl.load(softmax + i * 2 + 1, mask=i < n, other=0.0)
        weights = tl.exp2(turned_scores - tops[None, :]) * shares[None, :]
        grads = rows_at(grad, i, grad_row, n, D)
        slopes = tl.dot(own_values, tl.trans(grads), input_precision=PRECISION)
        if DROPOUT:
            keep = kept(tl.load(seed), sequence, at_i[None, :], at[:, None], dropout, WINDOW)
            slopes *= keep
            dv = tl.dot((weights * keep).to(grads.dtype), grads, dv, input_precision=PRECISION)
        else:
            dv = tl.dot(weights.to(grads.dtype), grads, dv, input_precision=PRECISION)
        means = tl.load(delta + i, mask=i < n, other=0.0)
        slopes = weights * (slopes - means[None, :])
        dk = tl.dot(slopes.to(query.dtype), query, dk, input_precision=PRECISION)
    # Through k = q / |q|: dq = (dk - k (k . dk)) / |q|.
    unit = rows.to(tl.float32) * own_lengths[:, None]
    dk *= scale
    dq = own_lengths[:, None] * (dk - unit * tl.sum(unit * dk, axis=1)[:, None])
    return dq, dv
