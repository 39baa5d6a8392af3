"""LSH attention by a plan: sorted, in chunks, round by round, in memory linear in the length."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from models.kernels import chunk_attention
from models.kernels.chunk_attention import EAGER, Bodies, Plan
from models.kernels.lsh_dispatch import Call
from models.kernels.lsh_layout import LSHLayout
from models.kernels.lsh_options import LSHOptions
from models.kernels.lsh_plan import LSHPlan
from models.kernels.unit_keys import scaled_unit_keys


def missing() -> str | None:
    """Return nothing: it runs wherever torch does."""
    return None


def refuse(call: Call, options: LSHOptions) -> str | None:  # noqa: ARG001 - it takes everything
    """Return nothing: it computes every call."""
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
    dropout: float,
) -> Float[Tensor, "b h t d"]:
    """Return the attention of the vectors; who meets no key keeps its own value.

    Rounds are added as sums of one softmax, in float32 at least; `dropout` acts on the weights.
    """
    return attend_with(
        EAGER, q, v, plan, mask, options, causal=causal, scale=scale, dropout=dropout
    )


def attend_with(
    bodies: Bodies,
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
    """Return the same with the arithmetic of some impl."""
    b, h, t, d = q.shape
    layout = LSHLayout(plan, mask, options, causal=causal)
    how = Plan(layout=layout, bodies=bodies, dropout=dropout, alone=True)
    q, v = q.reshape(-1, t, d), v.reshape(-1, t, d)
    return chunk_attention.attend(q, scaled_unit_keys(q, scale), v, how).view(b, h, t, d)
