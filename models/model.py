"""The kind `Model`: a network around an attention mechanism, as a suite names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from models.variant import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What every model of a comparison shares."""

    vocab: int
    d_model: int
    heads: int
    d_ff: int
    layers: int
    max_len: int  # longest sequence that the model must take
    causal: bool

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.d_model // self.heads


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCost:
    """What one forward pass costs on paper, all layers and the output projection included."""

    model_flops: int  # of the problem: matrix products of the weights and exact attention's pairs
    executed_flops: int  # of the mechanism, in one forward pass
    train_model_flops: int  # forward and backward of the problem
    train_executed_flops: int  # the same as executed, recomputation included
    state_bytes: int  # what decoding one more token must keep
    attention_bytes: int  # that the mechanisms must move in one forward pass: `compulsory_bytes`
    product_elements: int  # activations that products of weights read and write, one forward pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A network that a suite may name; `MODEL` at the end of its module makes one.

    `build(size, options, variant, variant_options, impl)` returns a module that maps tokens
    `[batch, time]` to logits `[batch, time, vocab]`; `cost(size, options, variant,
    variant_options, impl, batch, seq_len, itemsize)` returns its `ModelCost`. A network that brings
    its own attention makes nothing of the variant and its options.
    """

    attention: str  # the variant when a suite names none; "own": it brings its own
    options: type  # frozen dataclass of what the model takes beyond `Size`, with defaults
    build: Callable[[Size, Any, Variant, Any, str], nn.Module]
    cost: Callable[..., ModelCost]
