"""Local attention as Hugging Face `transformers` computes it: chunks on a circle. O(N) time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from models.kernels.circular import (
    attend_chunks,
    filled_length,
    key_mask,
    neighbours,
    times_seen,
)
from models.kernels.dense import ROWS, attend_pairs
from models.kernels.padding import zero_padding
from models.variant import Attention, Cost, Shape, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalHuggingFaceOptions:
    """The fields `local_*` of the original's configuration, by our names.

    Raises:
        ValueError: a value is impossible.
    """

    chunk: int = 64  # tokens
    before: int = 1  # earlier chunks that a chunk sees
    after: int = 0  # later chunks
    attention_dropout: float = 0.0  # share of normalised weights that training sets to zero
    pad_over: int | None = None  # longer inputs are filled up; None: `chunk`
    pad_to: int | None = None  # to a multiple of this; None: `chunk`

    def __post_init__(self) -> None:
        if self.chunk < 1 or self.before < 0 or self.after < 0:
            raise ValueError(f"{self}: chunk is at least 1, before and after are at least 0")
        if not 0 <= self.attention_dropout < 1:
            raise ValueError(f"attention_dropout: {self.attention_dropout}; at least 0 and below 1")
        if (self.pad_to or self.chunk) % self.chunk:
            raise ValueError(f"pad_to: {self.pad_to}; a multiple of chunk {self.chunk}")

    def filled(self, seq_len: int) -> int:
        """Return the length after filling up."""
        over, to = self.pad_over or self.chunk, self.pad_to or self.chunk
        return filled_length(seq_len, over=over, to=to)

    def seen(self, filled: int, device: torch.device | None = None) -> Int[Tensor, "c s"]:
        """Return which chunks each chunk sees."""
        if filled <= self.chunk:
            return neighbours(1, 0, 0, device)
        return neighbours(filled // self.chunk, self.before, self.after, device)


class LocalHuggingFaceAttention(Attention):
    """What `ReformerModel` of `transformers` computes, for checkpoints that were made by it.

    It differs from `local` in this: the first and the last chunk are neighbours, and forbidden
    scores become -1e9. The output at padding, which nobody sees, is zero here.

    impls: `chunked`, the original's operations; `reference`, the same sums over all pairs.
    """

    def __init__(
        self, options: LocalHuggingFaceOptions, *, causal: bool, impl: str, head_dim: int
    ) -> None:
        super().__init__()
        self.options = options
        self.causal = causal
        self.root = math.sqrt(head_dim)
        self._attend = {"chunked": self._chunked, "reference": self._by_rows}[impl]

    def forward(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend."""
        out = self._attend(*self._filled(q, k, v, mask))[:, :, : q.shape[2]]
        return zero_padding(out, mask)

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        rows: Int[Tensor, " r"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h r d"]:
        """Return some rows by the definition, in O(r N), whatever the impl."""
        out = self._rows(*self._filled(q, k, v, mask), rows)
        return zero_padding(out, None if mask is None else mask[:, rows])

    def _filled(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        b, t = q.shape[0], q.shape[2]
        filled = self.options.filled(t)
        fill = (0, 0, 0, filled - t)
        keep = key_mask(mask, batch=b, seq_len=t, filled=filled, device=q.device)
        return pad(q, fill), pad(k, fill), pad(v, fill), keep

    def _chunked(self, q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None) -> Tensor:
        t = q.shape[2]
        chunks = (-1, min(self.options.chunk, t))
        out, _ = attend_chunks(
            q.unflatten(2, chunks),
            (k / self.root).unflatten(2, chunks),
            v.unflatten(2, chunks),
            torch.arange(t, device=q.device).view(1, 1, *chunks),
            None if keep is None else keep[:, None].unflatten(2, chunks),
            self.options.seen(t, q.device),
            causal=self.causal,
            shared_qk=False,
            dropout=self.options.attention_dropout if self.training else 0.0,
        )
        return out.flatten(2, 3)

    def _by_rows(self, q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None) -> Tensor:
        blocks = torch.arange(q.shape[2], device=q.device).split(ROWS)
        return torch.cat([self._rows(q, k, v, keep, block) for block in blocks], dim=2)

    def _rows(self, q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None, rows: Tensor) -> Tensor:
        keys = torch.arange(q.shape[2], device=q.device)
        chunk = (keys // self.options.chunk).view(1, 1, -1)
        times = times_seen(chunk[:, :, rows], chunk, self.options.seen(q.shape[2], q.device))
        allowed = (times > 0).expand(len(q), *times.shape)
        if self.causal:
            allowed = allowed & (keys <= rows[:, None])
        if keep is not None:
            allowed = allowed & keep[:, None, None, :]
        bias = times.clamp(min=1).to(q.dtype).log()
        return attend_pairs(q[:, :, rows], k / self.root, v, allowed, scale=1.0, bias=bias)


def cost(options: LocalHuggingFaceOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call; the state is the original's, all inputs of the layer."""
    t = options.filled(shape.seq_len)
    per_pair = 4 * shape.head_dim * shape.heads * shape.batch
    elements = shape.batch * shape.heads * shape.seq_len * shape.head_dim
    pairs = t * options.seen(t).shape[1] * min(options.chunk, t)
    return Cost(
        model_flops=per_pair * shape.pairs,
        executed_flops=per_pair * (pairs if impl == "chunked" else t * t),
        compulsory_bytes=4 * elements * shape.itemsize,
        state_bytes=elements * shape.itemsize,
    )


VARIANT = Variant(
    module=LocalHuggingFaceAttention,
    options=LocalHuggingFaceOptions,
    impls=("chunked", "reference"),
    cost=cost,
    causal=True,
    exact=False,
)
