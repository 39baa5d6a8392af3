"""The pre-norm Transformer around any attention mechanism."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from models.layers.attention_layer import find_mechanism
from models.layers.checkpointing import checkpointed
from models.layers.cost import (
    built_for,
    checkpointed_again,
    layer_cost,
    network_cost,
    sectioned_again,
)
from models.layers.network import (
    Embedding,
    Network,
    NetworkConfig,
    attention_sublayer,
    check_mask,
    feed_forward_sublayer,
    initialise,
    sizes,
    vocab_head,
)
from models.layers.positions import STD, count_tokens
from models.model import Model, ModelCost, Size
from models.variant import Shape, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig(NetworkConfig):
    """A Transformer."""

    attention: str = "full"  # name of a variant
    attention_options: Any = None  # mapping, or the variant's own record; None: defaults
    impl: str | None = None  # None: the variant's default
    checkpointing: bool = (
        False  # keep a block's input only, and run the block again in the backward
    )


class Block(nn.Module):
    """`x + attention(norm(x))`, then `x + feed_forward(norm(x))`."""

    def __init__(self, attention: nn.Module, feed_forward: nn.Module) -> None:
        super().__init__()
        self.attention = attention
        self.feed_forward = feed_forward

    def forward(self, x: Float[Tensor, "b t m"], **extras: Any) -> Float[Tensor, "b t m"]:
        """Add both sublayers to the residual stream; they take what they need of the extras."""
        x = x + self.attention(x, **extras)
        return x + self.feed_forward(x, **extras)


class Transformer(Network[ModelConfig]):
    """Embedding, blocks, norm, output projection: tokens to the logits of the vocabulary.

    `variants` holds mechanisms that are not in the catalog, by the names that the config uses.

    Raises:
        UnknownNameError: a name in the configuration is unknown; the message has the nearest.
        ValueError: sizes do not fit together.
        Unsupported: the mechanism cannot be built so.
    """

    def __init__(self, config: ModelConfig, variants: Mapping[str, Variant] | None = None) -> None:
        super().__init__()
        self.config = config
        mechanism = find_mechanism(
            config.attention, config.attention_options, config.impl, variants=variants
        )
        blocks: list[Block] = []
        for layer in range(config.layers):
            attention = mechanism.build(
                causal=config.causal,
                head_dim=config.head_size,
                layer=layer,
                heads=config.heads,
                max_len=config.max_len,
            )
            blocks.append(
                Block(attention_sublayer(config, attention), feed_forward_sublayer(config))
            )
        self.embedding = Embedding(config)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.head = vocab_head(config, self.embedding)
        initialise(self, config.init_std)

    def hidden(
        self,
        tokens: Int[Tensor, "b t"],
        *,
        mask: Bool[Tensor, "b t"] | None = None,
        positions: Int[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t w"]:
        """Return the normalised last state of each token."""
        check_mask(tokens, mask)
        x = self.embedding(tokens, count_tokens(mask) if positions is None else positions)
        for block in self.blocks:
            if self.config.checkpointing and torch.is_grad_enabled():
                x = checkpointed(block, x, mask=mask)
            else:
                x = block(x, mask=mask)
        return self.norm(x)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerOptions:
    """What a suite may set beside the sizes; see `NetworkConfig`."""

    activation: str = "gelu"
    dropout: float = 0.0
    positions: str = "axial"
    ff_section: int | None = None
    conv: int | None = None
    init_std: float = STD
    checkpointing: bool = False


def build(
    size: Size, options: TransformerOptions, variant: Variant, variant_options: Any, impl: str
) -> Transformer:
    """Make the Transformer of a suite."""
    config = ModelConfig(
        **sizes(size),
        attention="variant",
        attention_options=variant_options,
        impl=impl,
        activation=options.activation,
        dropout=options.dropout,
        positions=options.positions,
        ff_section=options.ff_section,
        conv=options.conv,
        init_std=options.init_std,
        checkpointing=options.checkpointing,
    )
    return Transformer(config, {"variant": variant})


def cost(
    size: Size,
    options: TransformerOptions,
    variant: Variant,
    variant_options: Any,
    impl: str,
    batch: int,
    seq_len: int,
    itemsize: int,
) -> ModelCost:
    """Return the cost of one forward pass, and of one with its backward."""
    mechanism = find_mechanism("variant", variant_options, impl, variants={"variant": variant})
    shape = Shape(
        batch=batch,
        heads=size.heads,
        seq_len=seq_len,
        head_dim=size.head_dim,
        causal=size.causal,
        itemsize=itemsize,
    )
    layer = layer_cost(
        size,
        built_for(mechanism, size),
        variant.cost(mechanism.options, shape, mechanism.impl),
        tokens=batch * seq_len,
        activation=options.activation,
    )
    layers = [layer] * size.layers
    return network_cost(
        layers,
        head=2 * batch * seq_len * size.d_model * size.vocab,
        outside=batch * seq_len * (2 * size.d_model + size.vocab),
        recomputed=checkpointed_again(layers, activation=options.activation)
        if options.checkpointing
        else sectioned_again(layers, options.ff_section, seq_len, activation=options.activation),
    )


MODEL = Model(attention="full", options=TransformerOptions, build=build, cost=cost)
