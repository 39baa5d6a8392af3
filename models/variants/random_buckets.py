"""LSH attention with random buckets in place of hashes: a control, of no other use. O(N log N)."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.kernels.dense import ROWS
from models.kernels.lsh_chunked import attend
from models.kernels.lsh_definition import attend_rows
from models.kernels.lsh_options import LSHOptions
from models.kernels.lsh_plan import LSHPlan, sorted_by, whole_sequence
from models.kernels.padding import zero_padding
from models.layers.replay import decide
from models.variant import Attention, Cost, Shape, Variant

STRIDE = 0x9E3779B1  # between the seeds of successive draws: odd, and far from any layer's seed


class RandomBuckets(Attention):
    """What `lsh` does, with buckets that know nothing of the vectors.

    A token so meets as many others as under LSH, but not the like ones. What a network learns with
    it is owed to how many keys a query sees, not to the hash: LSH that is no better than this
    control has a hash that finds nothing. Buckets are the seed's; give `redraw`, or a network
    learns by heart whom each place meets: training then draws new ones at each forward.

    impls: `chunked` and `reference`, as `lsh`.

    Raises:
        ValueError: `strict` is asked for, which is about hashes.
    """

    shared_qk = True

    def __init__(self, options: LSHOptions, *, causal: bool, impl: str, head_dim: int) -> None:
        super().__init__()
        if options.strict:
            raise ValueError("strict: random buckets have no strict form")
        self.options = options
        self.causal = causal
        self.scale = 1 / math.sqrt(head_dim) if options.logit_scale == "sqrt_d" else 1.0
        self._attend = {"chunked": self._chunked, "reference": self._by_rows}[impl]
        if options.redraw:
            self.register_buffer("draws", torch.zeros((), dtype=torch.int64))

    def forward(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],  # noqa: ARG002 - the shared vectors are q
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend; inside a reversible stack the plan of the first run is used again."""
        plan = decide(lambda: self.plan(q, mask))
        return zero_padding(self._attend(q, v, plan, mask), mask)

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],  # noqa: ARG002 - the shared vectors are q
        v: Float[Tensor, "b h t d"],
        rows: Int[Tensor, " r"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h r d"]:
        """Return some rows by the definition, whatever the impl."""
        plan = decide(lambda: self.plan(q, mask))
        out = self._rows(q, v, rows, plan, mask)
        return zero_padding(out, None if mask is None else mask[:, rows])

    def plan(self, q: Float[Tensor, "b h t d"], mask: Bool[Tensor, "b t"] | None = None) -> LSHPlan:
        """Draw a bucket for each place, the same in every row of the batch, and sort."""
        b, h, t, _ = q.shape
        if not self.options.hashed(t):
            return whole_sequence(q)
        count = math.prod(self.options.factors(t))
        generator = torch.Generator(device="cpu").manual_seed(self._seed())
        shape = (1, h, self.options.hashes, t)
        bucket = torch.randint(count, shape, generator=generator, dtype=torch.int32, device="cpu")
        bucket = bucket.to(q.device).expand(b, -1, -1, -1).contiguous()
        if mask is not None:
            bucket = bucket.masked_fill(~mask[:, None, None, :], count)
        return sorted_by(bucket)

    def _seed(self) -> int:
        if not (self.options.redraw and self.training):
            return self.options.seed
        self.draws += 1
        return (self.options.seed + STRIDE * int(self.draws)) % 2**32

    def _by_rows(self, q: Tensor, v: Tensor, plan: LSHPlan, mask: Tensor | None) -> Tensor:
        blocks = torch.arange(q.shape[2], device=q.device).split(ROWS)
        return torch.cat([self._rows(q, v, block, plan, mask) for block in blocks], dim=2)

    def _rows(
        self, q: Tensor, v: Tensor, rows: Tensor, plan: LSHPlan, mask: Tensor | None
    ) -> Tensor:
        return attend_rows(q, v, rows, plan, mask, self.options, **self._how)

    def _chunked(self, q: Tensor, v: Tensor, plan: LSHPlan, mask: Tensor | None) -> Tensor:
        return attend(q, v, plan, mask, self.options, **self._how)

    @property
    def _how(self) -> dict[str, Any]:
        dropout = self.options.attention_dropout if self.training else 0.0
        return {"causal": self.causal, "scale": self.scale, "dropout": dropout}


def cost(options: LSHOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call: that of `lsh` without its hash."""
    n, sequences = shape.seq_len, shape.batch * shape.heads
    elements = sequences * n * shape.head_dim
    pairs = options.rounds(n) * options.window.pairs(n) if impl == "chunked" else n * n
    return Cost(
        model_flops=4 * shape.head_dim * sequences * shape.pairs,
        executed_flops=4 * shape.head_dim * sequences * pairs,
        recomputed_flops=2 * shape.head_dim * sequences * pairs if impl == "chunked" else 0,
        compulsory_bytes=3 * elements * shape.itemsize,
        state_bytes=2 * elements * shape.itemsize,
    )


VARIANT = Variant(
    module=RandomBuckets,
    options=LSHOptions,
    impls=("chunked", "reference"),
    cost=cost,
    causal=True,
    exact=False,
)
