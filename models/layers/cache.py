"""What a network keeps between decoding steps, and how its sublayers run with it.

A token that was read leaves keys, values and the like in the attention layers and nothing else:
nobody needs its residual streams again. A step sends the newest token alone through all sublayers,
in a reversible stack as two streams of one vector each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from models.layers.attention_layer import AttentionLayer, Context
from models.layers.positions import Positions
from models.layers.pullback import wide
from models.layers.sublayer import Sublayer


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """What a network knows of the tokens that it read. It is a value: a step returns another."""

    states: tuple[Any, ...]  # of each sublayer in order; None where it keeps nothing
    length: Int[Tensor, " b"]  # tokens of each row, padding not counted: its next position
    room: int | None  # tokens that the longest row can still take; None: any number

    def check_room(self, tokens: int) -> None:
        """See that so many tokens more have a position.

        Raises:
            ValueError: they have none.
        """
        if self.room is not None and tokens > self.room:
            raise ValueError(f"{tokens} more tokens; the position encoding holds {self.room} more")

    def reorder(self, sublayers: Iterable[nn.Module], rows: Int[Tensor, " r"]) -> Cache:
        """Return the cache whose row i is the old row `rows[i]`."""
        pairs = zip(sublayers, self.states, strict=True)
        states = tuple(_reorder(sublayer, state, rows) for sublayer, state in pairs)
        return Cache(states=states, length=self.length[rows], room=self.room)


class Prefill:
    """Runs sublayers on a prompt, with the outputs of their `forward`, and keeps their states."""

    def __init__(
        self,
        mask: Bool[Tensor, "b t"] | None = None,
        context: Float[Tensor, "b s m"] | None = None,
        context_mask: Bool[Tensor, "b s"] | None = None,
    ) -> None:
        self._states: list[Any] = []
        self._mask, self._context, self._context_mask = mask, context, context_mask

    def __call__(self, sublayer: nn.Module, x: Float[Tensor, "b t m"]) -> Float[Tensor, "b t m"]:
        """Return the sublayer's output."""
        if not isinstance(sublayer, Sublayer) or not isinstance(sublayer.inner, AttentionLayer):
            self._states.append(None)
            return sublayer(x)
        layer, y = sublayer.inner, sublayer.norm(x)
        if "context" in sublayer.takes and self._context is not None:
            state = layer.begin_context(self._context, self._context_mask)
            out = layer.attend_context(y, state)
        else:
            out, state = layer.begin(y, self._mask)
        self._states.append(state)
        return sublayer.dropout(out)

    def cache(self, tokens: Int[Tensor, "b t"], positions: Positions | None) -> Cache:
        """Return what is kept of the prompt; the position encoding tells how many may follow."""
        longest = None if positions is None else positions.longest
        whole = torch.full((len(tokens),), tokens.shape[1], device=tokens.device)
        length = whole if self._mask is None else self._mask.sum(dim=1)
        room = None if longest is None else longest - int(length.max())
        return Cache(states=tuple(self._states), length=length, room=room)


class Step:
    """Runs sublayers on one more token of each row.

    Raises:
        ValueError: it has no position.
    """

    def __init__(self, cache: Cache) -> None:
        cache.check_room(1)
        self._states: list[Any] = []
        self._before = cache

    def __call__(self, sublayer: nn.Module, x: Float[Tensor, "b 1 m"]) -> Float[Tensor, "b 1 m"]:
        """Return the sublayer's output."""
        state = self._before.states[len(self._states)]
        if not isinstance(sublayer, Sublayer) or not isinstance(sublayer.inner, AttentionLayer):
            out = sublayer(x)
        elif isinstance(state, Context):
            out = sublayer.dropout(sublayer.inner.attend_context(sublayer.norm(x), state))
        else:
            out, state = sublayer.inner.step(sublayer.norm(x), state)
            out = sublayer.dropout(out)
        self._states.append(state)
        return out

    def cache(self) -> Cache:
        """Return what is kept now."""
        before = self._before
        room = None if before.room is None else before.room - 1
        return Cache(states=tuple(self._states), length=before.length + 1, room=room)


Run = Callable[[nn.Module, Tensor], Tensor]  # of a sublayer on its input: a Prefill or a Step


def through_residual(
    sublayers: Iterable[nn.Module], x: Float[Tensor, "b t m"], run: Run
) -> Float[Tensor, "b t m"]:
    """Send x through sublayers around which one residual stream flows."""
    for sublayer in sublayers:
        x = x + run(sublayer, x)
    return x


def through_streams(
    sublayers: Iterable[nn.Module], x: Float[Tensor, "b t m"], run: Run
) -> tuple[Float[Tensor, "b t m"], Float[Tensor, "b t m"]]:
    """Send x as both streams of a `ReversibleStack` through its sublayers."""
    a = b = x.to(wide(x.dtype))
    for sublayer in sublayers:
        a, b = b, a + run(sublayer, b.to(x.dtype)).to(a.dtype)
    return a.to(x.dtype), b.to(x.dtype)


def last_token(x: Float[Tensor, "b t m"], mask: Bool[Tensor, "b t"] | None) -> Float[Tensor, "b m"]:
    """Return the state of the last token of each row that is no padding."""
    if mask is None:
        return x[:, -1]
    last = mask.shape[1] - 1 - mask.flip(1).int().argmax(dim=1)
    return x[torch.arange(len(x), device=x.device), last]


def _reorder(sublayer: nn.Module, state: Any, rows: Tensor) -> Any:
    if isinstance(state, Context):
        return state.reorder(rows)
    if isinstance(sublayer, Sublayer) and isinstance(sublayer.inner, AttentionLayer):
        return sublayer.inner.reorder(state, rows)
    return state
