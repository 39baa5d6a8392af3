"""How the rounds of a chunked attention lay out their tokens, and the buffers that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from models.kernels.block_bodies import Block
from models.kernels.pairs import PairRule
from models.kernels.windows import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """One round of some sequences: order and features, by places of the round."""

    order: Tensor | None  # [g, t], integers: the token at each place; None: as they come
    place: Tensor | None  # [g, t]: its inverse
    query: Sequence[Tensor]  # features [g, t] of a `PairRule`
    key: Sequence[tuple[Tensor, float]]  # the same, with what fills up a window


@runtime_checkable
class Layout(Protocol):
    """Knows the order of tokens in each round, and who meets whom."""

    window: Window  # clipped to the sequence
    rule: PairRule
    rounds: int

    def places(self, r: int, part: slice, dtype: torch.dtype) -> Places:
        """Return round r of some of the sequences, its features in a floating type."""
        ...


class Buffers:
    """Memory that successive rounds use again: fresh pages cost more than the gathers into them."""

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def get(self, name: str, shape: Sequence[int], like: Tensor, dtype: torch.dtype) -> Tensor:
        """Return uninitialised memory; what it was before is lost."""
        kept = self._kept.get(name)
        if kept is None or kept.shape != torch.Size(shape):
            kept = self._kept[name] = torch.empty(*shape, dtype=dtype, device=like.device)
        return kept


class Round:
    """Buffers of one round of some sequences, chunk after chunk, windows as overlapping views."""

    def __init__(
        self,
        layout: Layout,
        r: int,
        part: slice,
        like: Tensor,
        dtype: torch.dtype,
        buffers: Buffers,
    ) -> None:
        self._buffers = buffers
        self._window, self._part = layout.window, part
        self._sequences, self._length = part.stop - part.start, like.shape[1]
        self._padded = self._window.padded(self._length)
        self.chunks = self._sequences * self._padded // self._window.chunk
        places = layout.places(r, part, dtype)
        self._rows = rows_of(places.order, self._length, part.start)
        self._back = rows_of(places.place, self._padded, 0)
        self._query = [self.queries(x.unsqueeze(-1)) for x in places.query]
        self._key = [self._key_feature(x, filler) for x, filler in places.key]

    def queries(self, x: Tensor) -> Tensor:
        """Lay out `[g, t, d]`, given in the order of places: `[chunks, c, d]`."""
        if self._padded != self._length:
            x = torch.nn.functional.pad(x, (0, 0, 0, self._padded - self._length))
        return x.reshape(self.chunks, self._window.chunk, x.shape[-1])

    def take(self, name: str, x: Tensor) -> Tensor:
        """Gather these sequences of `[n, t, d]` into chunks `[chunks, c, d]` of a named buffer."""
        return self._lay_out(name, x, 0, 0)

    def windows(self, name: str, x: Tensor) -> Tensor:
        """Gather these sequences of `[n, t, d]` into windows `[chunks, w, d]`: views."""
        c, d = self._window.chunk, x.shape[-1]
        laid_out = self._lay_out(name, x, self._window.before, self._window.after)
        return laid_out.as_strided((self.chunks, self._window.keys, d), (c * d, d, 1))

    def results(self, name: str, like: Tensor, dtype: torch.dtype) -> Tensor:
        """Return memory for a result of each place: `[chunks, c, d]` with the d of `like`."""
        shape = (self.chunks, self._window.chunk, *like.shape[2:])
        return self._buffers.get(name, shape, like, dtype)

    def sums(self, name: str, like: Tensor, dtype: torch.dtype) -> Tensor:
        """Return zeros for sums over the windows: `[before + chunks + after, c, d]`."""
        chunks = self._window.before + self.chunks + self._window.after
        shape = (chunks, self._window.chunk, *like.shape[2:])
        return self._buffers.get(name, shape, like, dtype).zero_()

    def spread(self, sums: Tensor, first: int, x: Tensor) -> None:
        """Add windows `[n, w, d]` of the chunks from `first` on to the sums of their chunks."""
        c = self._window.chunk
        for step in range(x.shape[1] // c):
            sums[first + step : first + step + len(x)] += x[:, step * c : (step + 1) * c]

    def own(self, sums: Tensor) -> Tensor:
        """Return the chunks of sums over windows, without what lies beyond the ends."""
        return sums[self._window.before : self._window.before + self.chunks]

    def add_to(self, total: Tensor, x: Tensor) -> None:
        """Add chunks `[chunks, c, ...]` to these sequences of `[n, t, ...]`."""
        total[self._part] += self.put_back(x)

    def put_back(self, x: Tensor) -> Tensor:
        """Return chunks `[chunks, c, ...]` in the order of the tokens, `[g, t, ...]`."""
        rest = x.shape[2:]
        if self._back is not None:
            x = x.reshape(-1, *rest).index_select(0, self._back)
            return x.view(self._sequences, self._length, *rest)
        return x.reshape(self._sequences, self._padded, *rest)[:, : self._length]

    def block(
        self, first: int, last: int, tensors: Sequence[Tensor], top: Tensor | None, dropout: float
    ) -> Block:
        """Return some chunks of laid-out queries and windows of keys and values."""
        q, k, v = (x[first:last] for x in tensors)
        kept = None
        if dropout:
            ones = torch.ones(
                last - first, q.shape[1], k.shape[1], dtype=self._key[0].dtype, device=q.device
            )
            kept = torch.nn.functional.dropout(ones, dropout)
        return Block(
            q,
            k,
            v,
            [x[first:last] for x in self._query],
            [x[first:last] for x in self._key],
            None if top is None else top[first:last],
            kept,
        )

    def _lay_out(self, name: str, x: Tensor, before: int, after: int) -> Tensor:
        c, d = self._window.chunk, x.shape[-1]
        chunks = self._buffers.get(name, (before + self.chunks + after, c, d), x, x.dtype)
        chunks[:before] = 0  # beyond the ends: weighed with zero, so it must be finite
        chunks[before + self.chunks :] = 0
        middle = chunks[before : before + self.chunks].view(self._sequences, self._padded, d)
        middle[:, self._length :] = 0
        if self._rows is None:
            middle[:, : self._length] = x[self._part]
        elif self._padded == self._length:
            torch.index_select(x.view(-1, d), 0, self._rows, out=middle.view(-1, d))
        else:
            taken = x.view(-1, d).index_select(0, self._rows)
            middle[:, : self._length] = taken.view(self._sequences, self._length, d)
        return chunks

    def _key_feature(self, x: Tensor, filler: float) -> Tensor:
        c, window = self._window.chunk, self._window
        fill = self._padded - self._length
        x = torch.nn.functional.pad(x, (window.before * c, fill + window.after * c), value=filler)
        return x.unfold(1, window.keys, c).reshape(self.chunks, 1, window.keys)


def rows_of(index: Tensor | None, stride: int, first: int) -> Tensor | None:
    """Return an index `[g, t]` as rows of `[g t]`, in 64 bits; `first` is the first sequence."""
    if index is None:
        return None
    sequences = torch.arange(first, first + len(index), device=index.device)
    return (index.long() + sequences[:, None] * stride).flatten()
