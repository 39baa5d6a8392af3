"""The queries' part of the gradient of a round: a Triton device function."""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from models.kernels.triton_rows import inverse_lengths, positions_at, rows_at, shown_of
from models.kernels.triton_rule import kept, ruled


@no_type_check
@triton.jit
def gradient_as_queries(
    dq: tl.tensor,
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
    """Return dq [ROWS, D] with what the keys of the window add: `scale sum_j ds_ij k_j`."""
    CHUNKS: tl.constexpr = (ROWS + CHUNK - 1) // CHUNK
    WINDOW: tl.constexpr = (BEFORE + 1 + AFTER) * CHUNK
    TILES: tl.constexpr = (WINDOW + (CHUNKS - 1) * CHUNK + OTHERS - 1) // OTHERS
    chunk = tile * ROWS // CHUNK
    at = tile * ROWS + tl.arange(0, ROWS)
    own = positions_at(order, at, 0, n, n)
    rows = rows_at(q, own, q_row, n, D)
    low = tl.maximum(chunk - BEFORE, 0) * CHUNK
    high = tl.minimum((chunk + CHUNKS + AFTER) * CHUNK, n)
    g = rows_at(grad, own, grad_row, n, D)
    highest = tl.load(softmax + own * 2, mask=own < n, other=0.0)
    inverse = tl.load(softmax + own * 2 + 1, mask=own < n, other=0.0)
    mean = tl.load(delta + own, mask=own < n, other=0.0)
    for step in range(TILES):
        at_j = (chunk - BEFORE) * CHUNK + step * OTHERS + tl.arange(0, OTHERS)
        j = shown_of(mask, positions_at(order, at_j, low, high, n), n, MASKED)
        key = rows_at(q, j, q_row, n, D)
        lengths = inverse_lengths(key, D)
        scores = tl.dot(rows, tl.trans(key), input_precision=PRECISION)
        scores *= (lengths * turned)[None, :]
        scores = ruled(
            scores,
            own[:, None],
            j[None, :],
            at[:, None],
            at_j[None, :],
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
        p = tl.exp2(scores - highest[:, None]) * inverse[:, None]
        values = rows_at(v, j, v_row, n, D)
        dp = tl.dot(g, tl.trans(values), input_precision=PRECISION)
        if DROPOUT:
            dp *= kept(tl.load(seed), sequence, at[:, None], at_j[None, :], dropout, WINDOW)
        ds = p * (dp - mean[:, None]) * (lengths * scale)[None, :]
        dq = tl.dot(ds.to(key.dtype), key, dq, input_precision=PRECISION)
    return dq
