"""An encoder-decoder as a map from one sequence to logits: it reads the first half of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from models.layers.attention_layer import find_mechanism
from models.layers.cost import LayerCost, built_for, layer_cost, network_cost
from models.layers.network import sizes
from models.layers.positions import STD
from models.model import Model, ModelCost, Size
from models.reformer import ReformerConfig
from models.variant import Shape, Unsupported, Variant

KIND = "attention"  # what the variant is called in the configurations
START = 0


class Seq2Seq(nn.Module):
    """Reads the first half of its tokens as a source and predicts the second half, token by token.

    The encoder attends in both directions, the decoder causally, both with the variant; attention
    from the decoder to the encoder is always full: a mechanism with shared queries and keys has no
    other form. Logits at a place tell the next token, as a causal network's do. The first token of
    the second half is taken for the separator that it is and not read; at the first half, where an
    encoder predicts nothing, all logits are zero.
    """

    def __init__(self, network: EncoderDecoder, vocab: int) -> None:
        super().__init__()
        self.network = network
        self.vocab = vocab

    def forward(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t v"]:
        """Return the logits of what follows each token."""
        half = tokens.shape[1] // 2
        source, rest = tokens[:, :half], tokens[:, half:]
        following = torch.cat([rest[:, 1:], rest[:, -1:]], dim=1)  # the last one is never read
        told = self.network(source, following)
        return torch.cat([told.new_zeros(len(tokens), half, self.vocab), told], dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seq2SeqOptions:
    """What a suite may set beside the sizes; see `ReformerConfig`. `layers` are of each side."""

    activation: str = "gelu"
    dropout: float = 0.0
    positions: str = "axial"
    ff_section: int | None = None
    reversible: bool = False
    conv: int | None = None
    init_std: float = STD


def build(
    size: Size, options: Seq2SeqOptions, variant: Variant, variant_options: Any, impl: str
) -> Seq2Seq:
    """Make the encoder-decoder of a suite.

    Raises:
        Unsupported: the cell is not causal, or the mechanism has only one direction.
    """
    if not size.causal:
        raise Unsupported("seq2seq: its decoder predicts the next token; causal is true")

    def side(*, causal: bool) -> ReformerConfig:
        half = {**sizes(size), "causal": causal, "max_len": -(-size.max_len // 2)}
        return ReformerConfig(
            **half,
            attention=(KIND,),
            attention_options={KIND: variant_options},
            impls={KIND: impl},
            activation=options.activation,
            dropout=options.dropout,
            positions=options.positions,
            ff_section=options.ff_section,
            reversible=options.reversible,
            conv=options.conv,
            init_std=options.init_std,
        )

    config = EncoderDecoderConfig(
        encoder=side(causal=False), decoder=side(causal=True), start=START
    )
    return Seq2Seq(EncoderDecoder(config, {KIND: variant}), size.vocab)


def cost(
    size: Size,
    options: Seq2SeqOptions,
    variant: Variant,
    variant_options: Any,
    impl: str,
    batch: int,
    seq_len: int,
    itemsize: int,
) -> ModelCost:
    """Return the cost of one forward pass; with its backward, reversible stacks run twice."""
    half, tokens = seq_len // 2, batch * (seq_len // 2)

    def layer(mechanism_of: Variant, own: Any, by: str, *, causal: bool, feed: int) -> LayerCost:
        mechanism = find_mechanism(KIND, own, by, variants={KIND: mechanism_of})
        shape = Shape(
            batch=batch,
            heads=size.heads,
            seq_len=half,
            head_dim=size.head_dim,
            causal=causal,
            itemsize=itemsize,
        )
        found = layer_cost(
            size,
            built_for(mechanism, replace(size, causal=causal)),
            mechanism_of.cost(mechanism.options, shape, mechanism.impl),
            tokens=tokens,
            activation=options.activation,
        )
        return LayerCost(
            attention=found.attention,
            projections=found.projections,
            feed_forward=found.feed_forward * feed,
            elements=found.elements,
        )

    full = find_mechanism("full")
    layers = [
        *[layer(variant, variant_options, impl, causal=False, feed=1)] * size.layers,
        *[layer(variant, variant_options, impl, causal=True, feed=1)] * size.layers,
        *[layer(full.variant, full.options, full.impl, causal=False, feed=0)] * size.layers,
    ]
    again = sum(
        each.projections
        + each.feed_forward
        + each.attention.executed_flops
        - each.attention.forward_only_flops
        for each in layers
    )
    return network_cost(
        layers,
        head=2 * tokens * size.d_model * size.vocab,
        outside=tokens * (3 * size.d_model + size.vocab),
        recomputed=again if options.reversible else 0,
    )


MODEL = Model(attention="lsh", options=Seq2SeqOptions, build=build, cost=cost)
