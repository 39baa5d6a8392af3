"""Rotary positions: queries and keys are turned by angles that grow with their positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.layers.positions import angles, count_tokens
from models.variant import Attention, attend


@dataclass(frozen=True, slots=True, kw_only=True)
class RotaryState:
    """What decoding needs: the mechanism's own state and the positions of the next tokens."""

    inner: Any
    position: Int[Tensor, " b"]


class RotaryAttention(Attention):
    """Any mechanism on turned queries and keys (Su et al. 2021), so that `q_i . k_j` knows `i - j`.

    A mechanism with shared queries and keys is given turned shared vectors, so it hashes what it
    will multiply: near in the hash is near in the scores that it stands for. (Hashing before the
    turn, as some do, looks for like tokens at any distance, whose turned scores may be small.)
    Positions count the tokens: padding moves none.

    Raises:
        ValueError: the width of a head is odd.
    """

    def __init__(self, inner: Attention, *, head_dim: int) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"head_dim: {head_dim}; rotary positions turn pairs, it must be even")
        self.inner = inner
        self.shared_qk = inner.shared_qk
        self.kv_heads, self.routed = inner.kv_heads, inner.routed
        self.causal: bool = getattr(inner, "causal", True)

    def forward(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b g t d"],
        v: Float[Tensor, "b g t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Turn and attend."""
        return attend(self.inner, *self._turned(q, k, _places(q, mask)), v, mask)

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b g t d"],
        v: Float[Tensor, "b g t d"],
        rows: Int[Tensor, " r"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h r d"]:
        """Return the outputs at the positions `rows` only."""
        masks = () if mask is None else (mask,)
        return self.inner.rows(*self._turned(q, k, _places(q, mask)), v, rows, *masks)

    def begin(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b g t d"],
        v: Float[Tensor, "b g t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> RotaryState:
        """Return what decoding needs to know of these tokens."""
        places = _places(q, mask)
        full = torch.full((len(q),), q.shape[2], device=q.device)
        return RotaryState(
            inner=self.inner.begin(*self._turned(q, k, places), v, mask),
            position=full if mask is None else mask.sum(dim=1),
        )

    def step(
        self,
        q: Float[Tensor, "b h 1 d"],
        k: Float[Tensor, "b g 1 d"],
        v: Float[Tensor, "b g 1 d"],
        state: Any,
    ) -> tuple[Float[Tensor, "b h 1 d"], RotaryState]:
        """Attend from one more token of each row."""
        turned = self._turned(q, k, state.position.unsqueeze(1))
        out, inner = self.inner.step(*turned, v, state.inner)
        return out, RotaryState(inner=inner, position=state.position + 1)

    def reorder(self, state: Any, rows: Int[Tensor, " r"]) -> RotaryState:
        """Return the state of these rows of the batch."""
        return RotaryState(
            inner=self.inner.reorder(state.inner, rows), position=state.position[rows]
        )

    def _turned(self, q: Tensor, k: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        turned = turn(q, places)
        return turned, turned if self.shared_qk else turn(k, places)


def turn(x: Float[Tensor, "b h t d"], ids: Int[Tensor, "#b t"]) -> Float[Tensor, "b h t d"]:
    """Turn the pair `(x_2i, x_2i+1)` by the angle `p / 10000^(2i/d)`; computed in float32."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    angle = angles(ids, x.shape[-1]).unsqueeze(1)
    cos, sin = angle.cos().to(wide.dtype), angle.sin().to(wide.dtype)
    even, odd = wide[..., ::2], wide[..., 1::2]
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1)
    return turned.flatten(-2).to(x.dtype)


def _places(q: Tensor, mask: Tensor | None) -> Int[Tensor, "#b t"]:
    places = count_tokens(mask)
    return torch.arange(q.shape[2], device=q.device).unsqueeze(0) if places is None else places
