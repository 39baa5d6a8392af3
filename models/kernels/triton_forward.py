"""Triton kernel: one round of LSH attention, rows gathered by the sorted index."""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from models.kernels.triton_rows import (
    inverse_lengths,
    positions_at,
    rows_at,
    shown_of,
    split_program,
)
from models.kernels.triton_rule import kept, ruled


@no_type_check
@triton.jit
def lsh_attention_fwd_kernel(
    q: tl.tensor,
    v: tl.tensor,
    order: tl.tensor,
    place: tl.tensor,
    bucket: tl.tensor,
    mask: tl.tensor,
    seed: tl.tensor,
    out: tl.tensor,
    top: tl.tensor,
    total: tl.tensor,
    n: tl.tensor,
    heads: tl.tensor,
    q_batch: tl.tensor,
    q_head: tl.tensor,
    q_row: tl.tensor,
    v_batch: tl.tensor,
    v_head: tl.tensor,
    v_row: tl.tensor,
    scale: tl.tensor,
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
) -> None:
    """Attend from ROWS places of a sorted sequence to its window, OTHERS keys at a time.

    `out [b h r, n, D] = sum_j p_ij v_j / total_i`, `p_ij = exp2(s_ij - top_i)`,
    `total_i = sum_j p_ij`, `s_ij = scale q_i . q_j / |q_j|`, at the places of the round. The pair
    (top, total) is kept and not its logarithm, which loses digits where scores are large.
    """
    tiles = tl.cdiv(n, ROWS)
    tile, sequence, turn, head, b, h = split_program(tiles, ROUNDS, heads)
    order, mask = order + sequence * n, mask + b * n
    place, bucket = place + head * ROUNDS * n, bucket + head * ROUNDS * n
    q, v = q + b * q_batch + h * q_head, v + b * v_batch + h * v_head

    at_i = tile * ROWS + tl.arange(0, ROWS)
    i = positions_at(order, at_i, 0, n, n)
    query = rows_at(q, i, q_row, n, D)
    CHUNKS: tl.constexpr = (ROWS + CHUNK - 1) // CHUNK
    chunk = tile * ROWS // CHUNK
    low = tl.maximum(chunk - BEFORE, 0) * CHUNK
    high = tl.minimum((chunk + CHUNKS + AFTER) * CHUNK, n)

    WINDOW: tl.constexpr = (BEFORE + 1 + AFTER) * CHUNK
    TILES: tl.constexpr = (WINDOW + (CHUNKS - 1) * CHUNK + OTHERS - 1) // OTHERS
    highest, weight = tl.full([ROWS], -float("inf"), tl.float32), tl.zeros([ROWS], tl.float32)
    value = tl.zeros([ROWS, D], tl.float32)
    for step in range(TILES):
        at_j = (chunk - BEFORE) * CHUNK + step * OTHERS + tl.arange(0, OTHERS)
        j = shown_of(mask, positions_at(order, at_j, low, high, n), n, MASKED)
        key = rows_at(q, j, q_row, n, D)
        scores = tl.dot(query, tl.trans(key), input_precision=PRECISION)
        scores *= (inverse_lengths(key, D) * scale)[None, :]
        scores = ruled(
            scores,
            i[:, None],
            j[None, :],
            at_i[:, None],
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
        higher = tl.maximum(highest, tl.max(scores, axis=1))
        base = tl.where(higher == -float("inf"), 0.0, higher)
        p = tl.exp2(scores - base[:, None])
        if TILES > 1:
            shrunk = tl.exp2(highest - base)
            weight, value = weight * shrunk, value * shrunk[:, None]
        weight += tl.sum(p, axis=1)
        if DROPOUT:
            p *= kept(tl.load(seed), sequence, at_i[:, None], at_j[None, :], dropout, WINDOW)
        values = rows_at(v, j, v_row, n, D)
        value = tl.dot(p.to(values.dtype), values, value, input_precision=PRECISION)
        highest = higher

    value, stored = value / tl.where(weight > 0, weight, 1.0)[:, None], at_i < n
    tl.store(top + sequence * n + at_i, highest, mask=stored)
    tl.store(total + sequence * n + at_i, weight, mask=stored)
    to = out + (sequence * n + at_i)[:, None] * D + tl.arange(0, D)[None, :]
    tl.store(to, value.to(out.dtype.element_ty), mask=stored[:, None])
