"""Multi-head attention: projections around any mechanism."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from models.catalog import UnknownNameError, unknown
from models.variant import VARIANTS, Attention, Crosses, Unsupported, Variant, attend

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """A variant with its options and impl, as a configuration names it."""

    variant: Variant
    options: Any  # of the variant
    impl: str

    def build(
        self,
        *,
        causal: bool,
        head_dim: int,
        layer: int = 0,
        heads: int | None = None,
        max_len: int | None = None,
    ) -> Attention:
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
        return self.variant.build(
            options,
            causal=causal,
            impl=self.impl,
            head_dim=head_dim,
            heads=heads,
            max_len=max_len,
        )


def find_mechanism(
    name: str,
    options: Any = None,
    impl: str | None = None,
    *,
    variants: Mapping[str, Variant] | None = None,
) -> Mechanism:
    """Look up a mechanism by name, in `variants` first, then in the catalog.

    `options` is a mapping or the variant's own record. `impl` None or "auto" is the default one,
    or stays "auto" where the variant chooses by device and length at each call.

    Raises:
        UnknownNameError: there is no such variant, option or impl.
        ValueError: an option's value is impossible.
    """
    variant = (variants or {}).get(name) or VARIANTS.load(name)
    default = variant.impls[0] if variant.choose is None else AUTO
    chosen = default if impl is None or impl == AUTO else impl
    if chosen not in {default, *variant.impls}:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Another sequence as a layer attends to it, projected once for all decoding steps."""

    k: Float[Tensor, "b g s d"]
    v: Float[Tensor, "b g s d"]
    mask: Bool[Tensor, "b s"] | None

    def reorder(self, rows: Int[Tensor, " r"]) -> Context:
        """Return these rows of the batch."""
        mask = None if self.mask is None else self.mask[rows]
        return Context(k=self.k[rows], v=self.v[rows], mask=mask)


def key_heads(attention: Attention, heads: int) -> int:
    """Return how many heads the keys and values of a mechanism have.

    Raises:
        ValueError: they do not divide the heads of the queries.
    """
    count = attention.kv_heads or heads
    if heads % count:
        raise ValueError(f"kv_heads: {count} do not divide the {heads} heads of the queries")
    return count


class AttentionLayer(nn.Module):
    """`W_o concat_h attention(x W_q, x W_k, x W_v)`, without biases.

    A mechanism with shared queries and keys has one projection `W_qk` in the place of two; one
    whose heads share keys and values has narrower `W_k` and `W_v`.

    Raises:
        ValueError: the heads of keys and values do not divide those of queries.
    """

    def __init__(self, attention: Attention, *, d_model: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention = attention
        width, narrow = heads * head_dim, key_heads(attention, heads) * head_dim
        self.query = nn.Linear(d_model, width, bias=False)
        self.key = None if attention.shared_qk else nn.Linear(d_model, narrow, bias=False)
        self.value = nn.Linear(d_model, narrow, bias=False)
        self.out = nn.Linear(width, d_model, bias=False)

    def forward(
        self,
        x: Float[Tensor, "b t m"],
        mask: Bool[Tensor, "b t"] | None = None,
        *,
        context: Float[Tensor, "b s m"] | None = None,
        context_mask: Bool[Tensor, "b s"] | None = None,
    ) -> Float[Tensor, "b t m"]:
        """Attend within the sequence, or from it to a context (then `mask` has no effect).

        Masks are true where a position holds a token. The output at padding is zero.

        Raises:
            Unsupported: the mechanism takes no mask, or cannot attend to another sequence.
        """
        if context is not None:
            return self.attend_context(x, self.begin_context(context, context_mask))
        return self._merge(attend(self.attention, *self._project(x), mask))

    def begin(
        self, x: Float[Tensor, "b t m"], mask: Bool[Tensor, "b t"] | None = None
    ) -> tuple[Float[Tensor, "b t m"], Any]:
        """Return `forward(x, mask)` and the state for decoding what follows.

        Raises:
            Unsupported: the mechanism is bidirectional, or takes no mask.
        """
        q, k, v = self._project(x)
        out = self._merge(attend(self.attention, q, k, v, mask))
        return out, self.attention.begin(q, k, v, mask)

    def step(self, x: Float[Tensor, "b 1 m"], state: Any) -> tuple[Float[Tensor, "b 1 m"], Any]:
        """Attend from one more token of each row; return its output and the next state."""
        out, state = self.attention.step(*self._project(x), state)
        return self._merge(out), state

    def reorder(self, state: Any, rows: Int[Tensor, " r"]) -> Any:
        """Return the state of these rows of the batch; a row may come several times."""
        return self.attention.reorder(state, rows)

    def begin_context(
        self, context: Float[Tensor, "b s m"], mask: Bool[Tensor, "b s"] | None = None
    ) -> Context:
        """Project a context once, for `attend_context` at every decoding step.

        Raises:
            Unsupported: the mechanism attends within one sequence.
        """
        if self.key is None or not isinstance(self.attention, Crosses):
            name = type(self.attention).__name__
            raise Unsupported(f"{name} attends within one sequence; 'full' attends to another, too")
        k, v = self._split_keys(self.key(context)), self._split_keys(self.value(context))
        return Context(k=k, v=v, mask=mask)

    def attend_context(self, x: Float[Tensor, "b t m"], context: Context) -> Float[Tensor, "b t m"]:
        """Attend from x to a context of `begin_context`."""
        q = self._split(self.query(x))
        crossing = cast("Crosses", self.attention)  # or there would be no context
        return self._merge(crossing.cross(q, context.k, context.v, context.mask))

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q = self._split(self.query(x))
        k = q if self.key is None else self._split_keys(self.key(x))
        return q, k, self._split_keys(self.value(x))

    def _split_keys(self, x: Float[Tensor, "b t w"]) -> Float[Tensor, "b g t d"]:
        return x.unflatten(-1, (key_heads(self.attention, self.heads), -1)).transpose(1, 2)

    def _split(self, x: Float[Tensor, "b t w"]) -> Float[Tensor, "b h t d"]:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _merge(self, x: Float[Tensor, "b h t d"]) -> Float[Tensor, "b t m"]:
        return self.out(x.transpose(1, 2).flatten(2))
