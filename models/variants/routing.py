"""Routing attention: learned clusters in place of hash buckets (Roy et al. 2021). O(N)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from models.kernels import lsh_chunked
from models.kernels.dense import ROWS
from models.kernels.lsh_definition import attend_rows
from models.kernels.lsh_options import LSHOptions
from models.kernels.lsh_plan import LSHPlan, sorted_by, whole_sequence
from models.kernels.padding import zero_padding
from models.layers.replay import decide
from models.variant import Attention, Cost, Shape, Unsupported, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingOptions:
    """How many clusters, how fast they learn, whom a token meets.

    Raises:
        ValueError: a value is impossible.
    """

    clusters: int = 16  # of each head; the paper takes the root of the length
    chunk: int = 64  # tokens of the sequence sorted by cluster that attend together
    before: int = 1  # earlier chunks that a chunk sees
    after: int = 0  # later chunks
    decay: float = 0.999  # of the moving average that a centroid is, each training step
    attention_dropout: float = 0.0  # share of normalised weights that training sets to zero
    seed: int = 0  # of the first centroids

    def __post_init__(self) -> None:
        if self.clusters < 1:
            raise ValueError(f"clusters: {self.clusters}; at least 1")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay: {self.decay}; 0 to 1")
        self.neighbourhood  # noqa: B018 - refuses impossible values

    @property
    def neighbourhood(self) -> LSHOptions:
        """Who meets whom once the tokens are sorted: as in LSH attention with one round."""
        return LSHOptions(
            hashes=1,
            chunk=self.chunk,
            before=self.before,
            after=self.after,
            attention_dropout=self.attention_dropout,
        )


class RoutingAttention(Attention):
    """Softmax attention of vectors with themselves, over the keys of the same and near clusters.

    A token belongs to the centroid nearest in angle. Tokens are sorted by (cluster, position), cut
    into chunks, and attend as in `lsh` with one round: what differs is only that clusters are
    learned. In training each centroid moves to the mean of its unit vectors,
    `mu <- normalise(decay mu + (1 - decay) mean)` ("Routing Transformer", algorithm 1, whose
    clusters take their nearest tokens, as many for each; here a token is in one cluster). In
    evaluation they stand still. Centroids are buffers, saved with the parameters.

    If causal, a query takes nothing from later values; which keys it meets depends on all tokens.

    impls: `chunked`; `reference`, the same sums over all pairs, some rows at a time.

    Raises:
        Unsupported: nobody says how many heads there are.
    """

    shared_qk = True
    routed = True
    centroids: Float[Tensor, "h c d"]

    def __init__(
        self,
        options: RoutingOptions,
        *,
        causal: bool,
        impl: str,
        head_dim: int,
        heads: int | None = None,
    ) -> None:
        super().__init__()
        if heads is None:
            raise Unsupported("routing: each head has centroids of its own: heads")
        self.options = options
        self.causal = causal
        self._attend = {"chunked": self._chunked, "reference": self._by_rows}[impl]
        generator = torch.Generator("cpu").manual_seed(options.seed)
        shape = (heads, options.clusters, head_dim)
        drawn = torch.randn(shape, generator=generator, device="cpu")
        self.register_buffer("centroids", normalize(drawn, dim=-1))

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
        """Return some rows by the definition, in O(r N) beside the clusters, whatever the impl."""
        plan = decide(lambda: self.plan(q, mask))
        out = attend_rows(q, v, rows, plan, mask, self.options.neighbourhood, **self._how)
        return zero_padding(out, None if mask is None else mask[:, rows])

    @torch.no_grad()
    def plan(self, q: Float[Tensor, "b h t d"], mask: Bool[Tensor, "b t"] | None = None) -> LSHPlan:
        """Assign the vectors to clusters, in float32, and sort them; training moves these."""
        if q.shape[2] <= self.options.chunk:
            return whole_sequence(q)
        with torch.autocast(q.device.type, enabled=False):
            x = normalize(q.detach().float(), dim=-1)
            cluster = (x @ self.centroids.float().mT).argmax(dim=-1)
            if self.training:
                self._learn(x, cluster, mask)
        if mask is not None:
            cluster = cluster.masked_fill(~mask[:, None], self.centroids.shape[1])
        return sorted_by(cluster.to(torch.int32).unsqueeze(2))

    def _learn(self, x: Tensor, cluster: Tensor, mask: Tensor | None) -> None:
        """Move each centroid that has tokens towards their mean."""
        weight = torch.ones_like(x[..., :1]) if mask is None else mask[:, None, :, None].float()
        one_hot = torch.nn.functional.one_hot(cluster, self.centroids.shape[1]) * weight
        sums = torch.einsum("bhtc,bhtd->hcd", one_hot, x)
        counts = one_hot.sum(dim=(0, 2)).unsqueeze(-1)
        old = self.centroids.float()
        moved = self.options.decay * old + (1 - self.options.decay) * sums / counts.clamp(min=1)
        self.centroids.copy_(torch.where(counts > 0, normalize(moved, dim=-1), old))

    def _by_rows(self, q: Tensor, v: Tensor, plan: LSHPlan, mask: Tensor | None) -> Tensor:
        blocks = torch.arange(q.shape[2], device=q.device).split(ROWS)
        near = self.options.neighbourhood
        parts = [attend_rows(q, v, block, plan, mask, near, **self._how) for block in blocks]
        return torch.cat(parts, dim=2)

    def _chunked(self, q: Tensor, v: Tensor, plan: LSHPlan, mask: Tensor | None) -> Tensor:
        return lsh_chunked.attend(q, v, plan, mask, self.options.neighbourhood, **self._how)

    @property
    def _how(self) -> dict[str, Any]:
        dropout = self.options.attention_dropout if self.training else 0.0
        return {"causal": self.causal, "scale": 1.0, "dropout": dropout}


def cost(options: RoutingOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call: the scores of the clusters, chunks against windows."""
    n, sequences = shape.seq_len, shape.batch * shape.heads
    elements = sequences * n * shape.head_dim
    sorting = 2 * elements * options.clusters if n > options.chunk else 0
    pairs = options.neighbourhood.window.pairs(n) if impl == "chunked" else n * n
    return Cost(
        model_flops=4 * shape.head_dim * sequences * shape.pairs,
        executed_flops=4 * shape.head_dim * sequences * pairs + sorting,
        forward_only_flops=sorting,
        learning_flops=sorting,  # sums by cluster, as a product with one-hot vectors
        recomputed_flops=2 * shape.head_dim * sequences * pairs if impl == "chunked" else 0,
        compulsory_bytes=3 * elements * shape.itemsize,
        state_bytes=2 * elements * shape.itemsize,
    )


VARIANT = Variant(
    module=RoutingAttention,
    options=RoutingOptions,
    impls=("chunked", "reference"),
    cost=cost,
    causal=True,
    exact=False,
)
