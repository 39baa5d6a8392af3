"""Nystromformer: the softmax matrix from landmarks (Xiong et al. 2021). O(N landmarks)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.kernels.dense import ROWS
from models.kernels.padding import zero_padding
from models.variant import Attention, Cost, Shape, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class NystromformerOptions:
    """How many landmarks, and how well their matrix is inverted.

    Raises:
        ValueError: a value is impossible.
    """

    landmarks: int = 64  # at most; a sequence has no more than tokens
    iterations: int = 6  # of the pseudoinverse

    def __post_init__(self) -> None:
        if self.landmarks < 1 or self.iterations < 1:
            raise ValueError(f"{self}: both are at least 1")


class NystromformerAttention(Attention):
    """`s(Q K~^T) s(Q~ K~^T)^+ s(Q~ K^T) V`, s the softmax of rows with scale 1 / sqrt(d).

    Landmarks Q~, K~ are the means of equal segments of the tokens. The pseudoinverse is iterated,
    `Z <- Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4` (equation 11), from `A^T` over the product of
    its largest row and column sums, for each matrix by itself. The paper's convolution beside the
    attention is not part of the mechanism. A segment's mean takes later tokens: no causal form.

    impls: `landmarks`, from the right, nothing larger than N x landmarks; `reference`, the N x N
    matrix, some rows at a time.
    """

    def __init__(
        self, options: NystromformerOptions, *, causal: bool, impl: str, head_dim: int
    ) -> None:
        super().__init__()
        self.options = options
        self.causal = causal
        self.scale = 1 / math.sqrt(head_dim)
        self._attend = {"landmarks": self._landmarks, "reference": self._by_rows}[impl]

    def forward(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend."""
        shown = torch.ones_like(q[:, 0, :, 0], dtype=torch.bool) if mask is None else mask
        return zero_padding(self._attend(q, k, v, shown).to(v.dtype), mask)

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        rows: Int[Tensor, " r"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h r d"]:
        """Return some rows of the N x N matrix times the values, whatever the impl."""
        shown = torch.ones_like(q[:, 0, :, 0], dtype=torch.bool) if mask is None else mask
        keys, middle, right = self._factors(q, k, shown)
        out = self._softmax(q[:, :, rows], *keys) @ middle.to(q.dtype) @ right @ v
        return zero_padding(out, None if mask is None else mask[:, rows])

    def _factors(
        self, q: Tensor, k: Tensor, shown: Tensor
    ) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
        """Return the landmarks of keys and which exist, the inverse, and the right factor."""
        queries, exist = self._means(q, shown)
        keys, _ = self._means(k, shown)
        middle = self._softmax(queries, keys, exist) * exist[:, None, :, None]
        inverse = self._inverse(middle.to(torch.promote_types(q.dtype, torch.float32)))
        return (keys, exist), inverse, self._softmax(queries, k, shown)

    def _means(self, x: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means of the segments of each row's tokens, and which segments have tokens."""
        count = shown.sum(dim=1, keepdim=True)
        m = min(self.options.landmarks, x.shape[2])
        number = shown.cumsum(dim=1) - 1
        segment = torch.where(shown, number * count.clamp(max=m) // count.clamp(min=1), m)
        b, h, _, d = x.shape
        wide = torch.promote_types(x.dtype, torch.float32)
        index = segment[:, None, :, None].expand_as(x)
        sums = x.new_zeros(b, h, m + 1, d, dtype=wide).scatter_add(2, index, x.to(wide))
        sizes = sums.new_zeros(b, m + 1).scatter_add(1, segment, torch.ones_like(segment).to(wide))
        means = sums[:, :, :m] / sizes[:, None, :m, None].clamp(min=1)
        return means.to(x.dtype), sizes[:, :m] > 0

    def _softmax(self, q: Tensor, k: Tensor, shown: Tensor) -> Tensor:
        """Return the softmax over the keys that are shown; zeros where none is."""
        scores = (q @ k.mT) * self.scale
        wide = torch.promote_types(q.dtype, torch.float32)
        hidden = ~(shown | ~shown.any(dim=1, keepdim=True))[:, None, None]
        weights = torch.softmax(scores.masked_fill(hidden, -math.inf), dim=-1, dtype=wide)
        return (weights * shown.any(dim=1)[:, None, None, None]).to(q.dtype)

    def _inverse(self, a: Tensor) -> Tensor:
        unit = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
        largest = a.sum(dim=-1).amax(dim=-1) * a.sum(dim=-2).amax(dim=-1)
        z = a.mT / largest.masked_fill(largest == 0, 1)[..., None, None]
        for _ in range(self.options.iterations):
            az = a @ z
            z = z @ (13 * unit - az @ (15 * unit - az @ (7 * unit - az))) / 4
        return z

    def _landmarks(self, q: Tensor, k: Tensor, v: Tensor, shown: Tensor) -> Tensor:
        keys, middle, right = self._factors(q, k, shown)
        inner = middle @ (right @ v).to(middle.dtype)
        return self._softmax(q, *keys) @ inner.to(q.dtype)

    def _by_rows(self, q: Tensor, k: Tensor, v: Tensor, shown: Tensor) -> Tensor:
        keys, middle, right = self._factors(q, k, shown)
        parts = [
            self._softmax(some, *keys) @ middle.to(q.dtype) @ right @ v
            for some in q.split(ROWS, dim=2)
        ]
        return torch.cat(parts, dim=2)


def cost(options: NystromformerOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call; there is no decoding: the state is all keys, values."""
    n, d, sequences = shape.seq_len, shape.head_dim, shape.batch * shape.heads
    m = min(options.landmarks, n)
    factors = 2 * m * m * d + 4 * options.iterations * 2 * m**3 + 4 * n * m * d
    if impl == "landmarks":  # (right v), inverse times that, left times that
        products = 2 * m * n * d + 2 * m * m * d + 2 * n * m * d
    else:
        products = 2 * n * m * m + 2 * n * n * m + 2 * n * n * d
    elements = sequences * n * d
    return Cost(
        model_flops=4 * d * sequences * shape.pairs,
        executed_flops=sequences * (factors + products),
        compulsory_bytes=4 * elements * shape.itemsize,
        state_bytes=2 * elements * shape.itemsize,
    )


VARIANT = Variant(
    module=NystromformerAttention,
    options=NystromformerOptions,
    impls=("landmarks", "reference"),
    cost=cost,
    causal=False,
    exact=False,
    # The inverse of a badly conditioned matrix of landmarks takes float32 errors times its norm.
    tolerance=100.0,
)
