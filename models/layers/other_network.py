"""A network of another package behind our interface: tokens in, logits out; and what it costs."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType

from jaxtyping import Float, Int
from torch import Tensor, nn

from models.layers.cost import LayerCost, network_cost
from models.model import ModelCost, Size
from models.optional import optional
from models.variant import Cost, Shape

Hidden = Callable[[nn.Module, Tensor], Tensor]  # (network, tokens) -> states, or logits


class OtherNetwork(nn.Module):
    """Another package's network, with an output projection where it has none."""

    def __init__(
        self, network: nn.Module, *, width: int | None, vocab: int, hidden: Hidden
    ) -> None:
        super().__init__()
        self.network = network
        self.head = nn.Identity() if width is None else nn.Linear(width, vocab, bias=False)
        self._hidden = hidden

    def forward(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t v"]:
        """Return the logits."""
        return self.head(self._hidden(self.network, tokens))


def prepared(module: str, *packages: str) -> ModuleType:
    """Import a package of networks, kept from the network and from writing to the log.

    Raises:
        Unsupported: it is not installed.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    return optional(module, *packages)


def other_cost(
    size: Size,
    attention: Callable[[Shape], Cost],
    *,
    batch: int,
    seq_len: int,
    itemsize: int,
    width: int,
    projections: int = 4,
    reversible: bool = False,
) -> ModelCost:
    """Return the cost of a network of layers of attention and a feed-forward network.

    Args:
        size: of the network.
        attention: the mechanism's cost for a shape.
        batch: sequences.
        seq_len: tokens of each.
        itemsize: bytes of a number.
        width: of the states that the output projection takes.
        projections: matrices around the attention, the output's included.
        reversible: whether the backward runs the layers again.
    """
    tokens, d = batch * seq_len, size.d_model
    shape = Shape(
        batch=batch,
        heads=size.heads,
        seq_len=seq_len,
        head_dim=size.head_dim,
        causal=size.causal,
        itemsize=itemsize,
    )
    layer = LayerCost(
        attention=attention(shape),
        projections=2 * tokens * d * d * projections,
        feed_forward=4 * tokens * d * size.d_ff,
        elements=tokens * (4 * d + projections * d + 2 * size.d_ff),
    )
    again = layer.attention.executed_flops - layer.attention.forward_only_flops
    again += layer.projections + layer.feed_forward
    return network_cost(
        [layer] * size.layers,
        head=2 * tokens * width * size.vocab,
        outside=tokens * (d + width + size.vocab),
        recomputed=again * size.layers if reversible else 0,
    )
