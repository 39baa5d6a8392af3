"""The Reformer: LSH attention, reversible residuals, sectioned feed-forward, axial positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from models.layers.attention_layer import Mechanism, find_mechanism
from models.layers.cost import LayerCost, built_for, layer_cost, network_cost, sectioned_again
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
from models.layers.reversible import ReversibleStack
from models.model import Model, ModelCost, Size
from models.variant import Shape, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class ReformerConfig(NetworkConfig):
    """A Reformer (Kitaev, Kaiser, Levskaya 2020).

    `attention` is repeated over the layers: `("local", "lsh")` with four layers gives local, LSH,
    local, LSH. Options and impls are given by kind: `attention_options={"lsh": {"hashes": 8}}`.
    """

    attention: Sequence[str] = ("lsh",)  # kinds of the layers, or one kind's name
    attention_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    impls: Mapping[str, str] = field(default_factory=dict[str, str])
    ff_section: int | None = 512
    loss_section: int | None = 512
    combine: str = "mean"  # of the two streams at the end; or "concatenate", as the paper's LM
    reversible: bool = True  # False: the same function, activations kept

    def __post_init__(self) -> None:
        NetworkConfig.__post_init__(self)
        if not self.attention:
            raise ValueError("attention: no layer kinds; give at least one, as ('lsh',)")
        if self.combine not in {"mean", "concatenate"}:
            raise ValueError(f"combine: {self.combine!r}; allowed: 'mean', 'concatenate'")
        for kind in (*self.attention_options, *self.impls):
            if kind not in self.kinds:
                raise ValueError(f"{kind!r} has options and is no layer kind: {self.kinds}")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kind of each layer."""
        cycle = (self.attention,) if isinstance(self.attention, str) else tuple(self.attention)
        return tuple(cycle[layer % len(cycle)] for layer in range(self.layers))

    @property
    def width(self) -> int:
        """Width of the combined streams."""
        return self.d_model * (2 if self.combine == "concatenate" else 1)


class Reformer(Network[ReformerConfig]):
    """Embedding, reversible stack of attention and feed-forward, combined streams, norm, logits.

    Layer by layer `y1 = x1 + Attention(norm(x2))`, `y2 = x2 + FeedForward(norm(y1))`, from
    `x1 = x2 = embedding`. `variants` holds mechanisms that are not in the catalog, by the names
    that the config uses.

    Raises:
        UnknownNameError: a name in the configuration is unknown; the message has the nearest.
        ValueError: sizes do not fit together.
        Unsupported: a mechanism cannot be built so.
    """

    def __init__(
        self, config: ReformerConfig, variants: Mapping[str, Variant] | None = None
    ) -> None:
        super().__init__()
        self.config = config
        sublayers: list[nn.Module] = []
        for layer, mechanism in enumerate(_mechanisms(config, variants)):
            attention = mechanism.build(
                causal=config.causal,
                head_dim=config.head_size,
                layer=layer,
                heads=config.heads,
                max_len=config.max_len,
            )
            sublayers += [attention_sublayer(config, attention), feed_forward_sublayer(config)]
        self.embedding = Embedding(config)
        self.stack = ReversibleStack(sublayers, keep_activations=not config.reversible)
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
        """Return the normalised last state of each token, `config.width` wide."""
        check_mask(tokens, mask)
        x = self.embedding(tokens, count_tokens(mask) if positions is None else positions)
        return self.norm(self.combined(*self.stack(x, mask=mask)))

    def combined(self, a: Float[Tensor, "*b m"], b: Float[Tensor, "*b m"]) -> Float[Tensor, "*b w"]:
        """Return the two streams as one, `config.width` wide."""
        return torch.cat([a, b], dim=-1) if self.config.combine == "concatenate" else (a + b) / 2


def _mechanisms(config: ReformerConfig, variants: Mapping[str, Variant] | None) -> list[Mechanism]:
    """Return the mechanism of each layer."""
    found = {
        kind: find_mechanism(
            kind, config.attention_options.get(kind), config.impls.get(kind), variants=variants
        )
        for kind in config.kinds
    }
    return [found[kind] for kind in config.kinds]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReformerOptions:
    """What a suite may set beside the sizes; see `ReformerConfig`.

    In `layer_kinds` the name "attention" stands for the variant that the suite names.
    """

    layer_kinds: Sequence[str] = ("attention",)
    activation: str = "gelu"
    dropout: float = 0.0
    positions: str = "axial"
    ff_section: int | None = 512
    combine: str = "mean"
    reversible: bool = True
    conv: int | None = None
    init_std: float = STD


def build(
    size: Size, options: ReformerOptions, variant: Variant, variant_options: Any, impl: str
) -> Reformer:
    """Make the Reformer of a suite."""
    config = _config(size, options, variant_options, impl)
    return Reformer(config, {"attention": variant})


def cost(
    size: Size,
    options: ReformerOptions,
    variant: Variant,
    variant_options: Any,
    impl: str,
    batch: int,
    seq_len: int,
    itemsize: int,
) -> ModelCost:
    """Return the cost of one forward pass; with its backward, the stack runs forward twice.

    The hash is not among what runs twice: buckets are kept.
    """
    config = _config(size, options, variant_options, impl)
    shape = Shape(
        batch=batch,
        heads=size.heads,
        seq_len=seq_len,
        head_dim=size.head_dim,
        causal=size.causal,
        itemsize=itemsize,
    )
    layers = [
        layer_cost(
            size,
            built_for(mechanism, size),
            mechanism.variant.cost(mechanism.options, shape, mechanism.impl),
            tokens=batch * seq_len,
            activation=options.activation,
        )
        for mechanism in _mechanisms(config, {"attention": variant})
    ]
    return network_cost(
        layers,
        head=2 * batch * seq_len * config.width * size.vocab,
        outside=batch * seq_len * (size.d_model + config.width + size.vocab),
        recomputed=_recomputed(layers, config, seq_len),
    )


def _recomputed(layers: list[LayerCost], config: ReformerConfig, seq_len: int) -> int:
    if config.reversible:
        return sum(
            layer.projections
            + layer.feed_forward
            + layer.attention.executed_flops
            - layer.attention.forward_only_flops
            for layer in layers
        )
    return sectioned_again(layers, config.ff_section, seq_len, activation=config.activation)


def _config(
    size: Size, options: ReformerOptions, variant_options: Any, impl: str
) -> ReformerConfig:
    used = "attention" in options.layer_kinds
    return ReformerConfig(
        **sizes(size),
        attention=options.layer_kinds,
        attention_options={"attention": variant_options} if used else {},
        impls={"attention": impl} if used else {},
        activation=options.activation,
        dropout=options.dropout,
        positions=options.positions,
        ff_section=options.ff_section,
        combine=options.combine,
        reversible=options.reversible,
        conv=options.conv,
        init_std=options.init_std,
    )


MODEL = Model(attention="lsh", options=ReformerOptions, build=build, cost=cost)
