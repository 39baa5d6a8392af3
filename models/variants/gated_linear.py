"""Gated linear attention: a state that fades by gates (Yang et al. 2024). O(N), O(1) state."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from models.kernels import gated
from models.kernels.dense import ROWS
from models.kernels.padding import zero_padding
from models.kernels.prefix import chunked_flops, recurrent_flops
from models.variant import Attention, Cost, Shape, Variant

LOWEST = -5.0  # gate, as a logarithm: 16 of them in a row stay numbers in float32
LONGEST = 17  # tokens of a chunk, for the same reason


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedLinearOptions:
    """How slowly the state fades, and how the sum is cut.

    Raises:
        ValueError: a value is impossible.
    """

    temperature: float = 16.0  # the paper's tau: gates are its root, near one
    chunk: int = 16  # tokens that are attended by pairs

    def __post_init__(self) -> None:
        if not 1 <= self.chunk <= LONGEST:
            raise ValueError(f"chunk: {self.chunk}; 1 to {LONGEST}, or gates leave float32")
        if self.temperature <= 0:
            raise ValueError(f"temperature: {self.temperature}; above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedLinearState:
    """All that decoding keeps, whatever the length."""

    state: Float[Tensor, "b h d e"]


class GatedLinearAttention(Attention):
    """`out_i = q_i S_i / sqrt(d)`, `S_i = diag(a_i) S_{i-1} + k_i v_i^T` ("GLA", equation 3).

    `a_i = sigmoid(W k_i + b)^(1 / tau)`, not below e^-5, with one W of the layer for all its heads;
    the paper makes gates from the layer's input by two thin matrices. Its norm and output gate are
    not part of the mechanism. Causal only: a state has a direction.

    impls: `chunked`, pairs inside a chunk and the state between chunks; `recurrent`, token by
    token, which is how it decodes; `reference`, the definition over all pairs,
    `w_ij = sum_c q_ic k_jc exp(G_ic - G_jc)`, with `G` the sum of the gates' logarithms. All
    compute in float32 at least.
    """

    def __init__(
        self, options: GatedLinearOptions, *, causal: bool, impl: str, head_dim: int
    ) -> None:
        super().__init__()
        self.options = options
        self.causal = causal
        self.scale = 1 / math.sqrt(head_dim)
        self.gate = nn.Linear(head_dim, head_dim)
        self._attend = {
            "chunked": self._chunked,
            "recurrent": self._recurrent,
            "reference": self._by_rows,
        }[impl]

    def forward(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend."""
        return zero_padding(self._attend(*self._gated(q, k, v, mask)).to(v.dtype), mask)

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        rows: Int[Tensor, " r"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h r d"]:
        """Return some rows by the definition, in O(r N d), whatever the impl."""
        q, k, v, gates = self._gated(q, k, v, mask)
        out = self._rows(q, k, v, gates, rows)
        return zero_padding(out, None if mask is None else mask[:, rows])

    def begin(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> GatedLinearState:
        """Add up what has been: O(1) memory."""
        with torch.no_grad():
            _, k, v, gates = self._gated(q, k, v, mask)
            faded = gates.flip(2).cumsum(dim=2).flip(2) - gates  # by the gates after each token
            return GatedLinearState(state=(k * faded.exp()).mT @ v)

    def step(
        self,
        q: Float[Tensor, "b h 1 d"],
        k: Float[Tensor, "b h 1 d"],
        v: Float[Tensor, "b h 1 d"],
        state: GatedLinearState,
    ) -> tuple[Float[Tensor, "b h 1 d"], GatedLinearState]:
        """Attend from one token more: O(1)."""
        out, after = gated.recurrent(*self._gated(q, k, v, None), state.state)
        return out.to(v.dtype), GatedLinearState(state=after.detach())

    def reorder(self, state: GatedLinearState, rows: Int[Tensor, " r"]) -> GatedLinearState:
        """Return the state of these rows of the batch; a row may come several times."""
        return GatedLinearState(state=state.state[rows])

    def _gated(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return scaled queries, keys, values and gates; padding adds nothing and fades nothing."""
        wide = torch.promote_types(q.dtype, torch.float32)
        gates = logsigmoid(self.gate(k).to(wide)) / self.options.temperature
        gates = zero_padding(gates.clamp(min=LOWEST), mask)
        return q.to(wide) * self.scale, zero_padding(k, mask).to(wide), v.to(wide), gates

    def _chunked(self, q: Tensor, k: Tensor, v: Tensor, gates: Tensor) -> Tensor:
        return gated.chunked(q, k, v, gates, chunk=self.options.chunk)

    def _recurrent(self, q: Tensor, k: Tensor, v: Tensor, gates: Tensor) -> Tensor:
        return gated.recurrent(q, k, v, gates)[0]

    def _by_rows(self, q: Tensor, k: Tensor, v: Tensor, gates: Tensor) -> Tensor:
        blocks = torch.arange(q.shape[2], device=q.device).split(ROWS)
        return torch.cat([self._rows(q, k, v, gates, block) for block in blocks], dim=2)

    def _rows(self, q: Tensor, k: Tensor, v: Tensor, gates: Tensor, rows: Tensor) -> Tensor:
        faded = gates.cumsum(dim=2)
        keys, parts = torch.arange(q.shape[2], device=q.device), []
        for some in rows.split(16):  # a row's factors are [N, d]
            apart = faded[:, :, some, None] - faded[:, :, None]
            apart = apart.masked_fill((keys > some[:, None])[..., None], -math.inf)
            weights = (q[:, :, some, None] * k[:, :, None] * apart.exp()).sum(dim=-1)
            parts.append(weights @ v)
        return torch.cat(parts, dim=2)


def cost(options: GatedLinearOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call; the weights of `reference` count no FLOPs."""
    n, d, sequences = shape.seq_len, shape.head_dim, shape.batch * shape.heads
    elements = sequences * n * d
    flops = {
        "chunked": chunked_flops(seq_len=n, features=d, width=d, chunk=options.chunk),
        "recurrent": recurrent_flops(seq_len=n, features=d, width=d),
        "reference": 2 * n * n * d,
    }[impl]
    return Cost(
        model_flops=4 * d * sequences * shape.pairs,
        executed_flops=sequences * flops + 2 * elements * d,
        compulsory_bytes=4 * elements * shape.itemsize,
        state_bytes=sequences * d * d * max(shape.itemsize, 4),
    )


VARIANT = Variant(
    module=GatedLinearAttention,
    options=GatedLinearOptions,
    impls=("chunked", "recurrent", "reference"),
    cost=cost,
    causal=True,
    bidirectional=False,
    exact=False,
)
