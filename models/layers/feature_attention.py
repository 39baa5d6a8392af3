"""Attention whose weights are products of features: linear in the length, with a state."""

from __future__ import annotations

import abc
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.kernels import prefix
from models.kernels.dense import ROWS
from models.kernels.padding import zero_padding
from models.variant import Attention, Cost, Shape, check_causal


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureState:
    """All that decoding keeps, whatever the length."""

    sums: Float[Tensor, "b h m e"]  # sum of `f(k) [v; 1]^T` over the tokens so far


class FeatureAttention(Attention):
    """`out_i = sum_j w_ij v_j / sum_j w_ij`, `w_ij = f(q_i) . g(k_j)`, with features at least 0.

    The products are never formed for all pairs: `f(q) (g(K)^T V)`; if causal, chunk by chunk.

    impls: `chunked`; `recurrent`, token by token, which is how it decodes (causal only);
    `reference`, the definition over all pairs, some rows at a time.
    """

    def __init__(self, *, causal: bool, impl: str, chunk: int) -> None:
        super().__init__()
        self.causal = causal
        self.impl = impl
        self.chunk = chunk

    @abc.abstractmethod
    def features(
        self, q: Float[Tensor, "b h t d"], k: Float[Tensor, "b h s d"]
    ) -> tuple[Float[Tensor, "b h t m"], Float[Tensor, "b h s m"]]:
        """Return the features of queries and keys."""

    def forward(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend."""
        if self.impl == "reference":
            blocks = torch.arange(q.shape[2], device=q.device).split(ROWS)
            return torch.cat([self.rows(q, k, v, block, mask) for block in blocks], dim=2)
        fq, fk = self.features(q, k)
        fk, ones = zero_padding(fk, mask), torch.ones_like(v[..., :1])
        sums = self._sums(fq, fk, torch.cat([v, ones], dim=-1))
        return zero_padding(_divide(sums, v.dtype), mask)

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        rows: Int[Tensor, " r"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h r d"]:
        """Return some rows by the definition, in O(r N), whatever the impl."""
        fq, fk = self.features(q[:, :, rows], k)
        weights = fq @ zero_padding(fk, mask).mT
        if self.causal:
            later = torch.arange(k.shape[2], device=rows.device) > rows[:, None]
            weights = weights.masked_fill(later, 0)
        total = weights.sum(dim=-1, keepdim=True)
        out = weights @ v / total.masked_fill(total == 0, 1)
        return zero_padding(out, None if mask is None else mask[:, rows])

    def begin(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> FeatureState:
        """Add up what has been: O(1) memory."""
        check_causal(self)
        with torch.no_grad():
            _, fk = self.features(q, k)
            ones = torch.ones_like(v[..., :1])
            wide = torch.promote_types(v.dtype, torch.float32)
            sums = zero_padding(fk, mask).to(wide).mT @ torch.cat([v, ones], dim=-1).to(wide)
        return FeatureState(sums=sums)

    def step(
        self,
        q: Float[Tensor, "b h 1 d"],
        k: Float[Tensor, "b h 1 d"],
        v: Float[Tensor, "b h 1 d"],
        state: FeatureState,
    ) -> tuple[Float[Tensor, "b h 1 d"], FeatureState]:
        """Attend from one token more: O(1)."""
        fq, fk = self.features(q, k)
        ones = torch.ones_like(v[..., :1])
        out, sums = prefix.recurrent(fq, fk, torch.cat([v, ones], dim=-1), state.sums)
        return _divide(out, v.dtype), FeatureState(sums=sums.detach())

    def reorder(self, state: FeatureState, rows: Int[Tensor, " r"]) -> FeatureState:
        """Return the state of these rows of the batch; a row may come several times."""
        return FeatureState(sums=state.sums[rows])

    def _sums(self, fq: Tensor, fk: Tensor, v: Tensor) -> Tensor:
        if not self.causal:
            return fq @ (fk.mT @ v)
        if self.impl == "recurrent":
            return prefix.recurrent(fq, fk, v)[0]
        return prefix.chunked(fq, fk, v, chunk=self.chunk)


def feature_cost(shape: Shape, impl: str, *, features: int, chunk: int, mapping: int) -> Cost:
    """Return the cost of one forward call.

    `mapping` are the FLOPs of the features of one vector, a product with a constant. The divisor is
    one more column of the values.
    """
    n, sequences, width = shape.seq_len, shape.batch * shape.heads, shape.head_dim + 1
    elements = sequences * n * shape.head_dim
    if impl == "reference":
        attending = 2 * n * n * (features + shape.head_dim)
        mapped = n + n * -(-n // ROWS)  # keys are mapped again for each block of rows
    else:
        mapped, attending = 2 * n, 4 * n * features * width
        if shape.causal and impl == "chunked":
            attending = prefix.chunked_flops(seq_len=n, features=features, width=width, chunk=chunk)
    return Cost(
        model_flops=4 * shape.head_dim * sequences * shape.pairs,
        executed_flops=sequences * (attending + mapped * mapping),
        constant_flops=sequences * mapped * mapping,
        compulsory_bytes=4 * elements * shape.itemsize,
        state_bytes=sequences * features * width * max(shape.itemsize, 4),
    )


def _divide(sums: Tensor, dtype: torch.dtype) -> Tensor:
    total = sums[..., -1:]
    return (sums[..., :-1] / total.masked_fill(total == 0, 1)).to(dtype)
