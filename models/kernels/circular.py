"""Attention among chunks on a circle: each sees its neighbours, and the first sees the last.

This is the arithmetic of the Reformer in Hugging Face `transformers`. Scores that are forbidden are
replaced by large negative numbers and stay in the sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import dropout as drop

from models.kernels.lsh_hash import nearest_buckets
from models.kernels.lsh_plan import LSHPlan, sorted_by

FORBIDDEN, FORBIDDEN_FLOAT16 = -1e9, -1e4
ITSELF, ITSELF_FLOAT16 = -1e5, -1e3  # above the former: a token may be its own last resort


def filled_length(seq_len: int, *, over: int, to: int) -> int:
    """Return the length after filling up: to a multiple of `to` if it is longer than `over`."""
    return seq_len if seq_len <= over else -(-seq_len // to) * to


def neighbours(
    chunks: int, before: int, after: int, device: torch.device | None = None
) -> Int[Tensor, "c s"]:
    """Return which chunks each chunk sees, `before` earlier ones first.

    A step that is longer than the circle leads to the chunk itself, as in the original.
    """
    steps = [step if abs(step) < chunks else 0 for step in range(-before, after + 1)]
    own = torch.arange(chunks, device=device)
    return (own[:, None] + torch.tensor(steps, device=device)) % chunks


def hash_and_sort(
    x: Float[Tensor, "b h t d"],
    keep: Bool[Tensor, "b t"] | None,
    *,
    rounds: int,
    factors: Sequence[int],
    seed: int,
) -> LSHPlan:
    """Hash vectors and sort them by (bucket, position) in each round.

    The rotations are those that `torch.manual_seed(seed)` and `torch.randn` would give on the
    device and in the precision of x, drawn by a generator of their own: the global random state is
    left alone. Tokens that are not to be kept share a bucket behind all others.
    """
    generator = torch.Generator(x.device).manual_seed(seed)
    shape = (x.shape[1], x.shape[3], rounds, sum(factors) // 2)
    rotations = torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype)
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        bucket = nearest_buckets(torch.einsum("bhtd,hdrf->bhrtf", x, rotations), factors)
    if keep is not None:
        bucket = bucket.masked_fill(~keep[:, None, None, :], math.prod(factors))
    return sorted_by(bucket)


def windows(x: Tensor, seen: Int[Tensor, "c s"]) -> Tensor:
    """Lay out what each chunk sees: `[b, h, c, m, ...]` to `[b, h, c, s m, ...]`."""
    return x[:, :, seen].flatten(3, 4)


def times_seen(
    queries: Int[Tensor, "n r q"], keys: Int[Tensor, "n r t"], seen: Int[Tensor, "c s"]
) -> Int[Tensor, "n q t"]:
    """Return how often the windows of a query hold a key, over all rounds and steps.

    `queries` and `keys` are the chunks in which a token lies, one for each round.
    """
    times = torch.zeros((), dtype=torch.int32, device=keys.device)
    for chunk in seen[queries].permute(1, 3, 0, 2).flatten(0, 1):  # [n, q] by round and step
        for other in keys.unbind(1):
            times = times + (chunk[:, :, None] == other[:, None, :])
    return times


def attend_chunks(
    q: Float[Tensor, "b h c m d"],
    k: Float[Tensor, "b h c m d"],
    v: Float[Tensor, "b h c m d"],
    positions: Int[Tensor, "#b #h c m"],
    keep: Bool[Tensor, "#b #h c m"] | None,
    seen: Int[Tensor, "c s"],
    *,
    causal: bool,
    shared_qk: bool,
    dropout: float,
) -> tuple[Float[Tensor, "b h c m d"], Float[Tensor, "b h c m"]]:
    """Return `sum_j exp(s_ij - z_i) v_j` and the log-sum-exp `z_i` of each query's window.

    `s_ij = q_i . k_j`. It becomes -1e9 where j is later than i, if causal, or not to be kept; and
    after that -1e5 where j is i, if queries and keys are shared. Sums have the precision of the
    scores: where all of a window's are as large as these, float32 has no digits left for the
    count of keys, and the weights add up to a little less than one, or to the count.

    Args:
        q: queries, scaled by nobody.
        k: keys, scaled.
        v: values.
        positions: original places of the tokens.
        keep: which tokens may be keys; None: all.
        seen: the chunks that each chunk sees.
        causal: whether later tokens are forbidden.
        shared_qk: whether a token itself is forbidden unless there is nothing else.
        dropout: share of the weights that is dropped.
    """
    scores = q @ windows(k, seen).mT
    half = scores.dtype == torch.float16
    i, j = positions.unsqueeze(-1), windows(positions, seen).unsqueeze(-2)
    if causal:
        scores = scores.masked_fill(j > i, FORBIDDEN_FLOAT16 if half else FORBIDDEN)
    if keep is not None:
        lost = ~windows(keep, seen).unsqueeze(-2)
        scores = scores.masked_fill(lost, FORBIDDEN_FLOAT16 if half else FORBIDDEN)
    if shared_qk:
        scores = scores.masked_fill(j == i, ITSELF_FLOAT16 if half else ITSELF)
    z = torch.logsumexp(scores, dim=-1, keepdim=True)
    return drop(torch.exp(scores - z), dropout) @ windows(v, seen), z.squeeze(-1)


def key_mask(
    mask: Bool[Tensor, "b t"] | None, *, batch: int, seq_len: int, filled: int, device: torch.device
) -> Bool[Tensor, "b f"] | None:
    """Return which places of the filled-up input hold a token; None if all do."""
    if mask is None and filled == seq_len:
        return None
    keep = torch.zeros(batch, filled, dtype=torch.bool, device=device)
    keep[:, :seq_len] = True if mask is None else mask
    return keep
