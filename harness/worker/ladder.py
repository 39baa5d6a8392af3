"""The hash ladder: the same weights with more rounds, with fewer, and without hashing at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

from torch import Tensor, nn

from models.kernels.lsh_options import LSHOptions
from models.layers.attention_layer import AttentionLayer
from models.layers.rotary import RotaryAttention
from models.variant import VARIANTS, Attention

DENSE = "dense"
PLAIN = "plain"
Rung = int | str  # hash rounds, `DENSE` or `PLAIN`


class PlainSharedQK(Attention):
    """`softmax(Q Q^T / sqrt(d)) V`: ordinary attention whose keys are its queries.

    Keys keep their lengths and a token meets itself, so that it meets little else. Evaluating a
    network that was trained with unit keys and without itself in this way gives about chance: the
    likely reading of the 0.8 % in the first column of table 2 of Kitaev et al. (2020). Small
    networks gave one to two times chance; the paper does not say what it evaluated.
    """

    shared_qk = True

    def __init__(self, *, causal: bool, head_dim: int) -> None:
        super().__init__()
        full = VARIANTS.load("full")
        self.causal = causal
        self.full = full.module(full.options(), causal=causal, impl="eager", head_dim=head_dim)

    def forward(
        self,
        q: Tensor,
        k: Tensor,  # noqa: ARG002 - the shared vectors are q
        v: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Attend; tensors are `[batch, heads, time, dim]`."""
        return self.full(q, q, v, mask)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """An attention mechanism with shared queries and keys, and where it stands in a network."""

    parent: nn.Module
    name: str  # the parent's attribute
    attention: Attention
    head_dim: int


def sites(network: nn.Module) -> list[Site]:
    """Return the mechanisms that a ladder can be asked of, in order of the layers."""
    found: list[Site] = []
    for layer in network.modules():
        if not isinstance(layer, AttentionLayer) or not layer.attention.shared_qk:
            continue
        parent, name, attention = layer, "attention", layer.attention
        if isinstance(attention, RotaryAttention):
            parent, name, attention = attention, "inner", cast("Attention", attention.inner)
        width = layer.value.out_features // layer.heads
        found.append(Site(parent=parent, name=name, attention=attention, head_dim=width))
    return found


@contextmanager
def climbed(network: nn.Module, rung: Rung, chunk: int | None = None) -> Iterator[None]:
    """Put the mechanisms of a rung in the places of those with shared queries and keys.

    Args:
        network: has its own mechanisms again afterwards.
        rung: hash rounds; `DENSE`, all pairs with unit keys and without oneself; `PLAIN`.
        chunk: of the hashed rungs of mechanisms that have none of their own.
    """
    before = sites(network)
    try:
        for site in before:
            setattr(site.parent, site.name, build(site, rung, chunk).train(network.training))
        yield
    finally:
        for site in before:
            setattr(site.parent, site.name, site.attention)


def build(site: Site, rung: Rung, chunk: int | None = None) -> Attention:
    """Return the mechanism of a rung for one place: same scale, same direction.

    Raises:
        ValueError: a rung that is neither a number of rounds nor a known word.
    """
    own: Any = getattr(site.attention, "options", None)
    causal = bool(getattr(site.attention, "causal", True))
    scale: Any = getattr(own, "logit_scale", "unit")
    if rung == PLAIN:
        return PlainSharedQK(causal=causal, head_dim=site.head_dim)
    if rung == DENSE:
        variant = VARIANTS.load("shared_qk")
        options = variant.options(logit_scale=scale)
        impl = variant.impls[0]
    elif isinstance(rung, int):
        hashed = isinstance(own, LSHOptions)
        variant = VARIANTS.load("lsh")
        options = LSHOptions(logit_scale=scale, chunk=chunk or LSHOptions().chunk)
        options = replace(own if hashed else options, hashes=rung)
        impl = variant.impls[0]
        if hashed:
            return _like(site, options)
    else:
        raise ValueError(f"rung {rung!r}; a number of hash rounds, {DENSE!r} or {PLAIN!r}")
    return variant.module(options, causal=causal, impl=impl, head_dim=site.head_dim)


def _like(site: Site, options: LSHOptions) -> Attention:
    """Return a mechanism of the same class with other options: a control stays a control."""
    kind: Any = type(site.attention)
    causal = bool(getattr(site.attention, "causal", True))
    return kind(options, causal=causal, impl="chunked", head_dim=site.head_dim)
