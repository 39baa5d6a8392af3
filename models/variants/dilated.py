"""Sliding window with gaps: each query sees every n-th key near it (Beltagy et al. 2020). O(N)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from models.kernels.dense import ROWS, attend_pairs
from models.kernels.padding import extended, zero_padding
from models.kernels.windows import Window, attend_windows
from models.variant import Attention, Cost, Shape, Variant, check_causal


@dataclass(frozen=True, slots=True, kw_only=True)
class DilatedOptions:
    """Size and gaps of the window.

    Raises:
        ValueError: a size is impossible.
    """

    window: int = 64  # keys on each side, the token itself not counted
    dilation: int = 2  # tokens from one key to the next; 1: a sliding window without gaps

    def __post_init__(self) -> None:
        if self.window < 1 or self.dilation < 1:
            raise ValueError(f"{self}: both are at least 1")

    def chunks(self, *, causal: bool) -> Window:
        """Return the chunks, of every n-th token, that hold all keys of a query."""
        return Window(chunk=self.window, before=1, after=0 if causal else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DilatedState:
    """What decoding keeps: the tokens that the window spans, the newest last."""

    k: Float[Tensor, "b h s d"]
    v: Float[Tensor, "b h s d"]
    shown: Bool[Tensor, "b s"] | None


class DilatedAttention(Attention):
    """`softmax(Q K^T / sqrt(d)) V` over the keys at `i - m n`, `m <= window`, n the dilation.

    Also at `i + m n` if bidirectional ("Longformer", figure 2c). Places count padding.

    impls: `chunked`, every n-th token as a sequence of its own, in blocks of a window against its
    neighbours; `reference`, the definition over all pairs, some rows at a time.
    """

    def __init__(self, options: DilatedOptions, *, causal: bool, impl: str, head_dim: int) -> None:
        super().__init__()
        self.options = options
        self.causal = causal
        self.scale = 1 / math.sqrt(head_dim)
        self._attend = {"chunked": self._chunked, "reference": self._by_rows}[impl]

    def forward(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend."""
        return zero_padding(self._attend(q, k, v, mask), mask)

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        rows: Int[Tensor, " r"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h r d"]:
        """Return some rows by the definition, in O(r N), whatever the impl."""
        apart = rows[:, None] - torch.arange(q.shape[2], device=rows.device)
        allowed = self._near(apart)
        if mask is not None:
            allowed = allowed & mask[:, None, None, :]
        out = attend_pairs(q[:, :, rows], k, v, allowed, scale=self.scale)
        return zero_padding(out, None if mask is None else mask[:, rows])

    def begin(
        self,
        q: Float[Tensor, "b h t d"],  # noqa: ARG002 - queries are not asked again
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> DilatedState:
        """Keep the tokens that the next window spans."""
        check_causal(self)
        return self._kept(k, v, mask)

    def step(
        self,
        q: Float[Tensor, "b h 1 d"],
        k: Float[Tensor, "b h 1 d"],
        v: Float[Tensor, "b h 1 d"],
        state: DilatedState,
    ) -> tuple[Float[Tensor, "b h 1 d"], DilatedState]:
        """Attend from one token more: O(1)."""
        keys, values = torch.cat([state.k, k], dim=2), torch.cat([state.v, v], dim=2)
        shown, last = extended(state.shown), keys.shape[2] - 1
        allowed = self._near(last - torch.arange(last + 1, device=q.device)).unsqueeze(0)
        if shown is not None:
            allowed = allowed & shown[:, None, None, :]
        out = attend_pairs(q, keys, values, allowed, scale=self.scale)
        return out, self._kept(keys, values, shown)

    def reorder(self, state: DilatedState, rows: Int[Tensor, " r"]) -> DilatedState:
        """Return the state of these rows of the batch; a row may come several times."""
        shown = None if state.shown is None else state.shown[rows]
        return DilatedState(k=state.k[rows], v=state.v[rows], shown=shown)

    def _near(self, apart: Tensor) -> Tensor:
        """Tell which keys a query sees by how far before it they stand."""
        n, reach = self.options.dilation, self.options.window * self.options.dilation
        first = 0 if self.causal else -reach
        return (apart % n == 0) & (apart <= reach) & (apart >= first)

    def _kept(self, k: Tensor, v: Tensor, shown: Tensor | None) -> DilatedState:
        last = self.options.window * self.options.dilation
        kept = None if shown is None else shown[:, -last:]
        return DilatedState(k=k[:, :, -last:].detach(), v=v[:, :, -last:].detach(), shown=kept)

    def _by_rows(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        blocks = torch.arange(q.shape[2], device=q.device).split(ROWS)
        return torch.cat([self.rows(q, k, v, block, mask) for block in blocks], dim=2)

    def _chunked(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        b, h, t, _ = q.shape
        n = min(self.options.dilation, t)
        length = -(-t // n)
        part = attend_windows(
            _every(q * self.scale, n),
            _every(k, n),
            _every(v, n),
            _places(mask, batch=b, heads=h, seq_len=t, step=n, device=q.device),
            self.options.chunks(causal=self.causal),
            lambda scores, i, j: scores.masked_fill_(self._hidden(i, j, length), -math.inf),
        )
        total = part.total.masked_fill(part.total == 0, 1).unsqueeze(-1)  # zero: padding only
        out = (part.value / total).to(v.dtype).view(b, h, n, length, -1)
        return out.transpose(2, 3).flatten(2, 3)[:, :, :t]

    def _hidden(self, i: Tensor, j: Tensor, length: int) -> Tensor:
        far = (i - j > self.options.window) | (j == length)
        return far | (j > i if self.causal else j - i > self.options.window)


def _every(x: Tensor, step: int) -> Tensor:
    """Lay out every n-th token as a sequence: `[b, h, t, d]` to `[b h n, ceil(t / n), d]`."""
    x = pad(x, (0, 0, 0, -x.shape[2] % step)).unflatten(2, (-1, step)).transpose(2, 3)
    return x.flatten(0, 2)


def _places(
    mask: Tensor | None, *, batch: int, heads: int, seq_len: int, step: int, device: torch.device
) -> Int[Tensor, "n l"]:
    """Return the places in those sequences; their length at padding and at the fill-up."""
    shown = torch.ones(batch, seq_len, dtype=torch.bool, device=device) if mask is None else mask
    shown = pad(shown, (0, -seq_len % step)).unflatten(1, (-1, step)).mT  # [b, n, l]
    places = torch.arange(shown.shape[2], device=device).expand_as(shown)
    places = places.masked_fill(~shown, shown.shape[2])
    return places[:, None].expand(-1, heads, -1, -1).flatten(0, 2)


def cost(options: DilatedOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call; `chunked` computes whole chunks against neighbours."""
    n, per_pair = shape.seq_len, 4 * shape.head_dim * shape.heads * shape.batch
    step = min(options.dilation, n)
    pairs = step * options.chunks(causal=shape.causal).pairs(-(-n // step))
    elements = shape.batch * shape.heads * n * shape.head_dim
    kept = min(n, options.window * options.dilation)
    return Cost(
        model_flops=per_pair * shape.pairs,
        executed_flops=per_pair * (pairs if impl == "chunked" else n * n),
        compulsory_bytes=4 * elements * shape.itemsize,
        state_bytes=2 * shape.batch * shape.heads * kept * shape.head_dim * shape.itemsize,
    )


VARIANT = Variant(
    module=DilatedAttention,
    options=DilatedOptions,
    impls=("chunked", "reference"),
    cost=cost,
    causal=True,
    exact=False,
)
