"""The FLOPs of a network from those of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from models.layers.attention_layer import Mechanism, key_heads
from models.layers.feed_forward import matrices
from models.model import ModelCost, Size
from models.variant import Attention, Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """One layer, forward."""

    attention: Cost
    projections: int  # FLOPs
    feed_forward: int  # FLOPs
    elements: int  # activations that the matrices read and write


def built_for(mechanism: Mechanism, size: Size) -> Attention:
    """Return a mechanism of a network's size; parameters, if it has any, take no memory."""
    with torch.device("meta"):
        return mechanism.build(
            causal=size.causal, head_dim=size.head_dim, heads=size.heads, max_len=size.max_len
        )


def layer_cost(
    size: Size, mechanism: Attention, attention: Cost, *, tokens: int, activation: str
) -> LayerCost:
    """Return the cost of a layer: 2 FLOPs for each weight of a matrix and token."""
    heads = key_heads(mechanism, size.heads)  # queries and output have all, keys and values these
    width = (2 * size.heads + heads * (1 if mechanism.shared_qk else 2)) * size.head_dim
    # Products of one input read it once: x twice (projections, feed-forward), two outputs.
    moved = 4 * size.d_model + width + matrices(activation) * size.d_ff
    return LayerCost(
        attention=attention,
        projections=2 * tokens * size.d_model * width,
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


def checkpointed_again(layers: Sequence[LayerCost], *, activation: str) -> int:
    """Return what checkpointed blocks recompute: all but the last product, whose result none needs.

    Decisions such as hashes are kept and not computed again.
    """
    count = matrices(activation)
    return sum(
        layer.projections
        + layer.attention.executed_flops
        - layer.attention.forward_only_flops
        + layer.feed_forward * (count - 1) // count
        for layer in layers
    )


def network_cost(
    layers: Sequence[LayerCost], *, head: int, outside: int, recomputed: int
) -> ModelCost:
    """Return the cost of a network; `head` and `recomputed` are FLOPs.

    `outside` are the activations that embedding and head read and write.

    A backward counts twice its forward (two matrix products for one) and what the mechanism says
    that it computes again; fused kernels say nothing. Hashing has no backward. `recomputed` is what
    memory-saving layers compute a second time before it. A product
    with a constant has one product in its backward.
    """
    weights = head + sum(layer.projections + layer.feed_forward for layer in layers)
    problem = weights + sum(layer.attention.model_flops for layer in layers)
    executed = weights + sum(layer.attention.executed_flops for layer in layers)
    forward_only = sum(layer.attention.forward_only_flops for layer in layers)
    constant = sum(layer.attention.constant_flops for layer in layers)
    again = recomputed + sum(layer.attention.recomputed_flops for layer in layers)
    again += sum(layer.attention.learning_flops for layer in layers)
    return ModelCost(
        model_flops=problem,
        executed_flops=executed,
        train_model_flops=3 * problem,
        train_executed_flops=3 * (executed - forward_only) + forward_only - constant + again,
        state_bytes=sum(layer.attention.state_bytes for layer in layers),
        attention_bytes=sum(layer.attention.compulsory_bytes for layer in layers),
        product_elements=outside + sum(layer.elements for layer in layers),
    )
