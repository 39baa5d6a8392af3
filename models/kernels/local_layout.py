"""Local attention's one round as a chunked attention lays it out: the tokens in their order."""

from __future__ import annotations

import torch
from torch import Tensor

from models.kernels.chunk_layout import Places
from models.kernels.padding import tokens_first
from models.kernels.pairs import NOBODY, PairRule
from models.kernels.windows import Window


class LocalLayout:
    """Chunks cut from the tokens of each row, padding behind them."""

    rounds = 1

    def __init__(
        self, like: Tensor, mask: Tensor | None, window: Window, *, heads: int, causal: bool
    ) -> None:
        self._length, self._heads, self._causal = like.shape[-2], heads, causal
        self._device, self._mask = like.device, mask
        self._order = None if mask is None else tokens_first(mask)
        self.window = window.clipped(self._length)
        self.rule = PairRule(terms=("below",) if causal else ("token",))

    def places(self, r: int, part: slice, dtype: torch.dtype) -> Places:  # noqa: ARG002 - one round
        """Return some of the sequences, their features in a floating type."""
        number = torch.arange(self._length, device=self._device)
        order, place, padding = None, None, torch.zeros_like(number, dtype=torch.bool)
        if self._order is not None and self._mask is not None:
            row = torch.arange(part.start, part.stop, device=self._device) // self._heads
            order, place = (index[row] for index in self._order)
            padding = number >= self._mask.sum(dim=1)[row, None]
        shape = (part.stop - part.start, self._length)
        if self._causal:
            key, filler = number.masked_fill(padding, int(NOBODY)), NOBODY
            query = [(number + 1).to(dtype).expand(shape)]  # a token sees itself, too
        else:
            key, filler, query = ~padding, 0.0, []
        return Places(
            order=order, place=place, query=query, key=[(key.to(dtype).expand(shape), filler)]
        )
