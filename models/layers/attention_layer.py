"""Multi-head attention: projections around any mechanism."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from models.catalog import UnknownNameError, unknown
from models.variant import VARIANTS, Attention, Unsupported, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """A variant with its options and impl, as a configuration names it."""

    variant: Variant
    options: Any  # of the variant
    impl: str

    def build(self, *, causal: bool, head_dim: int, layer: int = 0) -> Attention:
        """Make the attention of one layer; where options hold a seed, each layer has its own.

        Raises:
            Unsupported: the variant cannot be built for this direction, or says so itself.
        """
        if not (self.variant.causal if causal else self.variant.bidirectional):
            direction = "causal" if causal else "bidirectional"
            raise Unsupported(f"this variant has no {direction} form")
        options = self.options
        if "seed" in {f.name for f in fields(options)}:
            options = replace(options, seed=options.seed + layer)
        return self.variant.module(options, causal=causal, impl=self.impl, head_dim=head_dim)


def find_mechanism(
    name: str,
    options: Any = None,
    impl: str | None = None,
    *,
    variants: Mapping[str, Variant] | None = None,
) -> Mechanism:
    """Look up a mechanism by name, in `variants` first, then in the catalog.

    `options` is a mapping or the variant's own record; `impl` None or "auto" is the default one.

    Raises:
        UnknownNameError: there is no such variant, option or impl.
        ValueError: an option's value is impossible.
    """
    variant = (variants or {}).get(name) or VARIANTS.load(name)
    chosen = variant.impls[0] if impl is None or impl == "auto" else impl
    if chosen not in variant.impls:
        raise UnknownNameError(unknown(f"impl of {name}", chosen, list(variant.impls)))
    if options is None:
        options = {}
    if isinstance(options, Mapping):
        known = sorted(f.name for f in fields(variant.options))
        for key in options:
            if key not in known:
                raise UnknownNameError(unknown(f"option of {name}", str(key), known))
        options = variant.options(**options)
    return Mechanism(variant=variant, options=options, impl=chosen)


class AttentionLayer(nn.Module):
    """`W_o concat_h attention(x W_q, x W_k, x W_v)`, without biases.

    A mechanism with shared queries and keys has one projection `W_qk` in the place of two.
    """

    def __init__(self, attention: Attention, *, d_model: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention = attention
        width = heads * head_dim
        self.query = nn.Linear(d_model, width, bias=False)
        self.key = None if attention.shared_qk else nn.Linear(d_model, width, bias=False)
        self.value = nn.Linear(d_model, width, bias=False)
        self.out = nn.Linear(width, d_model, bias=False)

    def forward(self, x: Float[Tensor, "b t m"]) -> Float[Tensor, "b t m"]:
        """Attend within the sequence."""
        q = self._split(self.query(x))
        k = q if self.key is None else self._split(self.key(x))
        out = self.attention(q, k, self._split(self.value(x)))
        return self.out(out.transpose(1, 2).flatten(2))

    def _split(self, x: Float[Tensor, "b t w"]) -> Float[Tensor, "b h t d"]:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
