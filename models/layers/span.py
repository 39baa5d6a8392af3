"""Where an answer stands in a text."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Span(NamedTuple):
    """The logits of an answer's first and last token; -inf at padding."""

    start: Float[Tensor, "b t"]
    end: Float[Tensor, "b t"]

    def best(self, longest: int) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"]]:
        """Return where the likeliest answer of at most `longest` tokens starts and ends."""
        t = self.start.shape[1]
        place = torch.arange(t, device=self.start.device)
        after = place - place.unsqueeze(1)
        scores = self.start.unsqueeze(2) + self.end.unsqueeze(1)
        scores = scores.masked_fill((after < 0) | (after >= longest), -torch.inf)
        found = scores.flatten(1).argmax(dim=1)
        return found // t, found % t
