"""What the networks around an attention mechanism have in common."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from models.layers.attention_layer import AttentionLayer
from models.layers.feed_forward import FeedForward
from models.layers.loss import IGNORED, sectioned_cross_entropy
from models.layers.positions import STD, make_positions
from models.layers.rotary import RotaryAttention
from models.layers.short_convolution import ShortConvolution
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
    activation: str = "gelu"  # "relu", or "swiglu", which has three matrices
    dropout: float = 0.0  # after embeddings, inside the feed-forward network, before residual sums
    positions: str = "axial"  # "learned", "rotary" or "sinusoidal"
    axial_shape: Sequence[int] | None = None  # None: two axes near the root of max_len
    axial_dims: Sequence[int] | None = None  # None: equal shares of d_model
    ff_section: int | None = None  # tokens that the feed-forward network takes at a time; None: all
    loss_section: int | None = None  # tokens whose logits the loss makes at a time; None: all
    norm_eps: float = 1e-5  # of the layer norms
    init_std: float = STD  # of new matrices and token vectors
    position_std: float = STD  # of new position vectors; the authors' axial ones have 1
    vocab_head: bool = True  # output projection; False: `forward` returns the hidden states
    head_bias: bool = False  # of the output projection
    tie_weights: bool = False  # the output projection is the table of token vectors
    conv: int | None = None  # width of a short convolution over the embeddings; None: without

    def __post_init__(self) -> None:
        for name in ("vocab", "d_model", "heads", "d_ff", "layers", "max_len"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)}; at least 1")
        for name in ("ff_section", "loss_section", "head_dim"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)}; at least 1")
        if self.head_dim is None and self.d_model % self.heads:
            raise ValueError(
                f"heads: {self.heads} do not divide d_model {self.d_model}; set head_dim"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout}; at least 0 and below 1")
        if self.tie_weights and not (self.vocab_head and self.width == self.d_model):
            raise ValueError(
                "tie_weights: the output projection must exist and be as wide as the token vectors"
            )

    @property
    def head_size(self) -> int:
        """Width of one head."""
        return self.head_dim or self.d_model // self.heads

    @property
    def width(self) -> int:
        """Width of the hidden states."""
        return self.d_model


class Embedding(nn.Module):
    """Token vectors plus position vectors, and what a short convolution adds."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab, config.d_model)
        self.positions = make_positions(
            config.positions,
            max_len=config.max_len,
            d_model=config.d_model,
            std=config.position_std,
            axial_shape=config.axial_shape,
            axial_dims=config.axial_dims,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.conv = None
        if config.conv is not None:
            self.conv = ShortConvolution(
                d_model=config.d_model, width=config.conv, causal=config.causal
            )

    def forward(
        self, tokens: Int[Tensor, "b t"], positions: Int[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t m"]:
        """Return the network's input; `positions` None counts from 0."""
        x = self.tokens(tokens)
        if self.positions is not None:
            encoding = self.positions(tokens.shape[1], positions, device=tokens.device)
            x = x + encoding.to(x.dtype)
        return self.dropout(x if self.conv is None else self.conv(x))


C = TypeVar("C", bound=NetworkConfig)


class Network(nn.Module, abc.ABC, Generic[C]):
    """Tokens to hidden states, to logits, to a loss.

    In every method `mask` is True at tokens and False at padding, None without padding;
    `positions` are the places that the position encoding describes, None counts the tokens.
    """

    config: C
    head: nn.Module

    @abc.abstractmethod
    def hidden(
        self,
        tokens: Int[Tensor, "b t"],
        *,
        mask: Bool[Tensor, "b t"] | None = None,
        positions: Int[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t w"]:
        """Return the normalised last state of each token, `config.width` wide.

        Raises:
            ValueError: the sequence is longer than the positions, or the mask does not fit it.
        """

    def forward(
        self,
        tokens: Int[Tensor, "b t"],
        *,
        mask: Bool[Tensor, "b t"] | None = None,
        positions: Int[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t v"]:
        """Return the logits."""
        return self.head(self.hidden(tokens, mask=mask, positions=positions))

    def loss(
        self,
        tokens: Int[Tensor, "b t"],
        targets: Int[Tensor, "b t"],
        *,
        mask: Bool[Tensor, "b t"] | None = None,
        positions: Int[Tensor, "b t"] | None = None,
        ignore_index: int = IGNORED,
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Return the mean cross-entropy of the targets; `targets[t]` is what follows `tokens[t]`.

        Padding and targets of `ignore_index` do not count. With `config.loss_section` the logits
        of all tokens never exist together.
        """
        if mask is not None:
            targets = targets.masked_fill(~mask, ignore_index)
        return sectioned_cross_entropy(
            self.hidden(tokens, mask=mask, positions=positions),
            self.head,
            targets,
            section=self.config.loss_section,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
        )


def check_mask(tokens: Tensor, mask: Tensor | None) -> None:
    """See that a padding mask is one.

    Raises:
        ValueError: it is not bool, or has another shape than the tokens.
    """
    if mask is not None and (mask.dtype != torch.bool or mask.shape != tokens.shape):
        raise ValueError(
            f"mask: {mask.dtype} {tuple(mask.shape)}; it is torch.bool {tuple(tokens.shape)}, "
            "True at tokens and False at padding"
        )


def attention_sublayer(config: NetworkConfig, attention: Attention) -> Sublayer:
    """Return norm, multi-head attention, dropout; the mechanism turned if positions are rotary.

    Raises:
        ValueError: the width of a head is odd, and positions are rotary.
    """
    if config.positions == "rotary":
        attention = RotaryAttention(attention, head_dim=config.head_size)
    layer = AttentionLayer(
        attention, d_model=config.d_model, heads=config.heads, head_dim=config.head_size
    )
    return Sublayer(
        layer,
        d_model=config.d_model,
        dropout=config.dropout,
        norm_eps=config.norm_eps,
        takes=("mask",),
    )


def feed_forward_sublayer(config: NetworkConfig) -> Sublayer | Sectioned:
    """Return norm, feed-forward network, dropout; in sections if the configuration says so."""
    network = FeedForward(
        d_model=config.d_model,
        d_ff=config.d_ff,
        activation=config.activation,
        dropout=config.dropout,
    )
    sublayer = Sublayer(
        network, d_model=config.d_model, dropout=config.dropout, norm_eps=config.norm_eps
    )
    return sublayer if config.ff_section is None else Sectioned(sublayer, section=config.ff_section)


def vocab_head(config: NetworkConfig, embedding: Embedding) -> nn.Module:
    """Return the output projection, or the identity for a network that has none."""
    if not config.vocab_head:
        return nn.Identity()
    head = nn.Linear(config.width, config.vocab, bias=config.head_bias)
    if config.tie_weights:
        head.weight = embedding.tokens.weight
    return head


def initialise(network: nn.Module, std: float = STD) -> None:
    """Draw matrices from N(0, std^2) and set biases to zero (Radford et al. 2019)."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std)
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
