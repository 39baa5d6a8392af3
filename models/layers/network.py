"""What the networks around an attention mechanism have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from models.layers.attention_layer import AttentionLayer
from models.layers.feed_forward import FeedForward
from models.layers.positions import STD, make_positions
from models.layers.sublayer import Sectioned, Sublayer
from models.model import Size
from models.variant import Attention


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Sizes and habits of a network; each model adds its own.

    Raises:
        ValueError: a value is impossible.
    """

    vocab: int
    d_model: int
    heads: int
    d_ff: int
    layers: int
    max_len: int  # longest sequence that the positions are made for
    causal: bool = True  # decoder; False: encoder
    head_dim: int | None = None  # None: d_model / heads
    activation: str = "gelu"  # or "relu"
    dropout: float = 0.0  # after embeddings, inside the feed-forward network, before residual sums
    positions: str = "axial"  # or "learned"; one default, so that models differ by mechanism only
    axial_shape: Sequence[int] | None = None  # None: two axes near the root of max_len
    axial_dims: Sequence[int] | None = None  # None: equal shares of d_model
    ff_section: int | None = None  # tokens that the feed-forward network takes at a time; None: all

    def __post_init__(self) -> None:
        for name in ("vocab", "d_model", "heads", "d_ff", "layers", "max_len"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)}; at least 1")
        if self.head_dim is None and self.d_model % self.heads:
            raise ValueError(
                f"heads: {self.heads} do not divide d_model {self.d_model}; set head_dim"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout}; at least 0 and below 1")

    @property
    def head_size(self) -> int:
        """Width of one head."""
        return self.head_dim or self.d_model // self.heads


class Embedding(nn.Module):
    """Token vectors plus position vectors."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab, config.d_model)
        self.positions = make_positions(
            config.positions,
            max_len=config.max_len,
            d_model=config.d_model,
            axial_shape=config.axial_shape,
            axial_dims=config.axial_dims,
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t m"]:
        """Return the network's input."""
        return self.dropout(self.tokens(tokens) + self.positions(tokens.shape[1]))


def attention_sublayer(config: NetworkConfig, attention: Attention) -> Sublayer:
    """Return norm, multi-head attention, dropout."""
    layer = AttentionLayer(
        attention, d_model=config.d_model, heads=config.heads, head_dim=config.head_size
    )
    return Sublayer(layer, d_model=config.d_model, dropout=config.dropout)


def feed_forward_sublayer(config: NetworkConfig) -> Sublayer | Sectioned:
    """Return norm, feed-forward network, dropout; in sections if the configuration says so."""
    network = FeedForward(
        d_model=config.d_model,
        d_ff=config.d_ff,
        activation=config.activation,
        dropout=config.dropout,
    )
    sublayer = Sublayer(network, d_model=config.d_model, dropout=config.dropout)
    return sublayer if config.ff_section is None else Sectioned(sublayer, section=config.ff_section)


def initialise(network: nn.Module) -> None:
    """Draw matrices from N(0, 0.02^2) and set biases to zero (Radford et al. 2019)."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=STD)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def sizes(size: Size) -> dict[str, Any]:
    """Return the fields of a configuration that a suite's `Size` fixes."""
    return {
        "vocab": size.vocab,
        "d_model": size.d_model,
        "heads": size.heads,
        "d_ff": size.d_ff,
        "layers": size.layers,
        "max_len": size.max_len,
        "causal": size.causal,
    }
