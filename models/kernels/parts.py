"""Equal parts of a sequence, or one half of each, as problems of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from models.kernels.windows import PartialSoftmax


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of sequences whose length they divide."""

    count: int
    half: int | None  # 0: the first half of each part; 1: the second; None: all of it

    def take(self, x: Tensor) -> Tensor:
        """Return the parts: `[n, t, ...]` to `[n count, size, ...]`."""
        x = x.unflatten(1, (self.count, -1))
        if self.half is not None:
            x = x.unflatten(2, (2, -1))[:, :, self.half]
        return x.flatten(0, 1)

    def give_back(self, part: PartialSoftmax) -> PartialSoftmax:
        """Return sums of parts as sums of whole sequences; other rows have none."""
        return PartialSoftmax(
            top=self._whole(part.top, -math.inf),
            total=self._whole(part.total, 0.0),
            value=self._whole(part.value.movedim(-1, 0), 0.0).movedim(0, -1),
        )

    def find(
        self, rows: Int[Tensor, " r"], length: int
    ) -> tuple[Int[Tensor, " r"], Int[Tensor, " r"], Bool[Tensor, " r"]]:
        """Return the part of each position, its place there, and whether it has one."""
        size = length // self.count
        start = 0 if self.half != 1 else size // 2
        place = rows % size - start
        return rows // size, place.clamp(min=0), place >= 0

    def spread(self, x: Float[Tensor, "n p r s"]) -> Float[Tensor, "n r t"]:
        """Lay out what each part says of its keys over the keys of all parts."""
        x = x.transpose(1, 2)
        if self.half is not None:
            fill = (0, x.shape[-1]) if self.half == 0 else (x.shape[-1], 0)
            x = pad(x, fill)
        return x.flatten(2)

    def _whole(self, x: Tensor, value: float) -> Tensor:
        """Undo `take` of `[..., n count, size]`."""
        if self.half is not None:
            fill = (0, x.shape[-1]) if self.half == 0 else (x.shape[-1], 0)
            x = pad(x, fill, value=value)
        return x.unflatten(-2, (-1, self.count)).flatten(-2)


def chosen(part: Int[Tensor, " r"], count: int) -> Bool[Tensor, "p r 1"]:
    """Tell for each part which rows lie in it."""
    return (torch.arange(count, device=part.device)[:, None] == part).unsqueeze(-1)
