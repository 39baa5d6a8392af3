"""LSH attention in chunks whose arithmetic torch.compile fuses: for Inductor, in C++ on a CPU."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from models.kernels import compiled_bodies, lsh_chunked
from models.kernels.lsh_dispatch import Call
from models.kernels.lsh_options import LSHOptions
from models.kernels.lsh_plan import LSHPlan


def missing() -> str | None:
    """Return what the compiler of torch lacks here."""
    return compiled_bodies.missing()


def refuse(call: Call, options: LSHOptions) -> str | None:  # noqa: ARG001 - options are all taken
    """Return why a call cannot be compiled."""
    return compiled_bodies.refuse(call.device)


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
    """Return the attention: the same function, walk and blocks as `chunked`, fused bodies."""
    return lsh_chunked.attend_with(
        compiled_bodies.COMPILED,
        q,
        v,
        plan,
        mask,
        options,
        causal=causal,
        scale=scale,
        dropout=dropout,
    )
