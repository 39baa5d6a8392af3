"""`LongformerModel` of Hugging Face transformers with an output projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.layers.other_network import OtherNetwork, other_cost, prepared
from models.model import Model, ModelCost, Size
from models.variant import Cost, Shape, Unsupported

FIRST = 2  # its positions begin behind the padding's


@dataclass(frozen=True, slots=True, kw_only=True)
class HuggingFaceLongformerOptions:
    """The field of its configuration that matters here.

    Raises:
        ValueError: the window is odd.
    """

    window: int = 128  # keys around a query, both sides together

    def __post_init__(self) -> None:
        if self.window < 2 or self.window % 2:
            raise ValueError(f"window: {self.window}; even and at least 2")


def build(
    size: Size, options: HuggingFaceLongformerOptions, _variant: Any, _options: Any, _impl: str
) -> nn.Module:
    """Make the network: a sliding window in every layer, no global tokens.

    Raises:
        Unsupported: causal attention is asked for.
    """
    if size.causal:
        raise Unsupported("huggingface_longformer: an encoder, it has no causal form")
    package = prepared("transformers", "transformers==5.23.0")
    config = package.LongformerConfig(
        attention_window=options.window,
        hidden_size=size.d_model,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=size.d_ff,
        vocab_size=size.vocab,
        max_position_embeddings=filled(size.max_len, options.window) + FIRST,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return OtherNetwork(
        package.LongformerModel(config, add_pooling_layer=False),
        width=size.d_model,
        vocab=size.vocab,
        hidden=_hidden,
    )


def filled(length: int, window: int) -> int:
    """Return the length after filling up to whole windows, as it does."""
    return -(-length // window) * window


def _hidden(network: nn.Module, tokens: Tensor) -> Tensor:
    # By itself it takes tokens of the padding's number for padding: here they are bytes.
    places = torch.arange(FIRST, tokens.shape[1] + FIRST, device=tokens.device)
    return network(input_ids=tokens, position_ids=places.expand_as(tokens)).last_hidden_state


def cost(
    size: Size,
    options: HuggingFaceLongformerOptions,
    _variant: Any,
    _options: Any,
    _impl: str,
    batch: int,
    seq_len: int,
    itemsize: int,
) -> ModelCost:
    """Return the cost of one forward pass, and of one with its backward.

    Scores are products of overlapping chunks of a window, their sums with values take three
    half-windows a query.
    """

    def attention(shape: Shape) -> Cost:
        t, half = filled(shape.seq_len, options.window), options.window // 2
        sequences = shape.batch * shape.heads
        scores = (t // half - 1) * (2 * half) ** 2
        elements = sequences * shape.seq_len * shape.head_dim
        return Cost(
            model_flops=4 * shape.head_dim * sequences * shape.pairs,
            executed_flops=2 * shape.head_dim * sequences * (scores + 3 * half * t),
            compulsory_bytes=4 * elements * shape.itemsize,
            state_bytes=2 * elements * shape.itemsize,
        )

    return other_cost(
        size, attention, batch=batch, seq_len=seq_len, itemsize=itemsize, width=size.d_model
    )


MODEL = Model(attention="own", options=HuggingFaceLongformerOptions, build=build, cost=cost)
