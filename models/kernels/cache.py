"""A tensor that grows along time: what decoding keeps of the tokens so far."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

SMALLEST = 16  # tokens that new room holds at least


@dataclass(slots=True, kw_only=True)
class _Room:
    """Memory that successive states of one sequence share."""

    tensor: Tensor  # [b, h, capacity, d]
    filled: int  # tokens that some state has written


@dataclass(frozen=True, slots=True, kw_only=True)
class Growing:
    """`[batch, heads, length, dim]`, to which a token is added in O(1), amortised.

    It is a value: appending returns a longer one and leaves this one as it was. The two share
    memory; whoever appends to a shorter one a second time gets memory of its own. Room doubles
    when it is full. Nothing here has a gradient.
    """

    room: _Room
    length: int

    @classmethod
    def of(cls, x: Float[Tensor, "b h t d"]) -> Growing:
        """Return these tokens as they are, without room for more."""
        return cls(room=_Room(tensor=x.detach(), filled=x.shape[2]), length=x.shape[2])

    @property
    def tensor(self) -> Float[Tensor, "b h t d"]:
        """The tokens so far."""
        return self.room.tensor[:, :, : self.length]

    def append(self, x: Float[Tensor, "b h n d"]) -> Growing:
        """Return these tokens followed by x."""
        length, room = self.length + x.shape[2], self.room
        if room.filled != self.length or length > room.tensor.shape[2]:
            b, h, _, d = room.tensor.shape
            wider = room.tensor.new_empty(b, h, max(2 * self.length, length, SMALLEST), d)
            wider[:, :, : self.length] = self.tensor
            room = _Room(tensor=wider, filled=self.length)
        room.tensor[:, :, self.length : length] = x.detach()
        room.filled = length
        return Growing(room=room, length=length)

    def select(self, rows: Int[Tensor, " r"]) -> Growing:
        """Return these rows of the batch; a row may come several times."""
        return Growing.of(self.tensor[rows])
