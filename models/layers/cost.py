"""The FLOPs of a network from those of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.layers.feed_forward import matrices
from models.model import ModelCost, Size
from models.variant import Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """One layer, forward."""

    attention: Cost
    projections: int  # FLOPs
    feed_forward: int  # FLOPs
    elements: int  # activations that the matrices read and write


def layer_cost(
    size: Size, attention: Cost, *, tokens: int, shared_qk: bool, activation: str
) -> LayerCost:
    """Return the cost of a layer: 2 FLOPs for each weight of a matrix and token."""
    width, projections = size.heads * size.head_dim, 3 if shared_qk else 4
    # Products of one input read it once: x twice (projections, feed-forward), two outputs.
    moved = 4 * size.d_model + projections * width + matrices(activation) * size.d_ff
    return LayerCost(
        attention=attention,
        projections=2 * tokens * size.d_model * width * projections,
        feed_forward=2 * tokens * size.d_model * size.d_ff * matrices(activation),
        elements=tokens * moved,
    )


def sectioned_again(
    layers: Sequence[LayerCost], section: int | None, seq_len: int, *, activation: str
) -> int:
    """Return what sections of feed-forward networks recompute in a plain backward.

    That is all matrix products but the last, whose result the gradient does not need.
    """
    if section is None or section >= seq_len:
        return 0
    count = matrices(activation)
    return sum(layer.feed_forward * (count - 1) // count for layer in layers)


def network_cost(
    layers: Sequence[LayerCost], *, head: int, outside: int, recomputed: int
) -> ModelCost:
    """Return the cost of a network; `head` and `recomputed` are FLOPs.

    `outside` are the activations that embedding and head read and write.

    A backward counts twice its forward (two matrix products for one) and what the mechanism says
    that it computes again; fused kernels say nothing. Hashing has no backward. `recomputed` is what
    memory-saving layers compute a second time before it.
    """
    weights = head + sum(layer.projections + layer.feed_forward for layer in layers)
    problem = weights + sum(layer.attention.model_flops for layer in layers)
    executed = weights + sum(layer.attention.executed_flops for layer in layers)
    forward_only = sum(layer.attention.forward_only_flops for layer in layers)
    again = recomputed + sum(layer.attention.recomputed_flops for layer in layers)
    return ModelCost(
        model_flops=problem,
        executed_flops=executed,
        train_model_flops=3 * problem,
        train_executed_flops=3 * (executed - forward_only) + forward_only + again,
        state_bytes=sum(layer.attention.state_bytes for layer in layers),
        attention_bytes=sum(layer.attention.compulsory_bytes for layer in layers),
        product_elements=outside + sum(layer.elements for layer in layers),
    )
