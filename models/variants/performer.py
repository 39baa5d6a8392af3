"""Performer: random features of the softmax kernel, FAVOR+ (Choromanski et al. 2021). O(N)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from models.layers.feature_attention import FeatureAttention, feature_cost
from models.variant import Cost, Shape, Unsupported, Variant

EPS = 1e-6  # below every feature: no divisor is zero


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformerOptions:
    """How many features, and how the causal sum is cut.

    Raises:
        ValueError: a size is impossible.
    """

    features: int | None = None  # None: d ln d, as the paper advises
    chunk: int = 64  # tokens that are attended by pairs
    seed: int = 0  # of the random directions

    def __post_init__(self) -> None:
        if self.chunk < 1 or (self.features is not None and self.features < 1):
            raise ValueError(f"chunk: {self.chunk}, features: {self.features}; both at least 1")

    def count(self, head_dim: int) -> int:
        """Return the number of features."""
        return self.features or max(1, round(head_dim * math.log(head_dim)))


class PerformerAttention(FeatureAttention):
    """`w_ij = f(q_i) . f(k_j)`, whose mean over random directions is `exp(q_i . k_j / sqrt(d))`.

    `f(x)_r = exp(w_r . x' - |x'|^2 / 2) + 1e-6`, `x' = x / d^(1/4)` ("Rethinking Attention with
    Performers", lemma 1). The directions w are orthogonal in groups of d and as long as normal
    vectors; they are drawn from the seed and serve all heads. A query's features are divided by
    their largest, which cancels out but for the 1e-6. Keys have no such divisor, as it would let
    later keys into a causal sum; their features are at most `exp(|w|^2 / 2)`.

    impls: see `FeatureAttention`. Features are computed in float32 at least.
    """

    directions: Float[Tensor, "m d"]

    def __init__(
        self, options: PerformerOptions, *, causal: bool, impl: str, head_dim: int
    ) -> None:
        if impl == "recurrent" and not causal:
            raise Unsupported("performer.recurrent: goes token by token, which is causal")
        super().__init__(causal=causal, impl=impl, chunk=options.chunk)
        self.options = options
        drawn = orthogonal(options.count(head_dim), head_dim, options.seed)
        self.register_buffer("directions", drawn)

    def features(
        self, q: Float[Tensor, "b h t d"], k: Float[Tensor, "b h s d"]
    ) -> tuple[Float[Tensor, "b h t m"], Float[Tensor, "b h s m"]]:
        """Return the positive random features."""
        queries, keys = self._logarithms(q), self._logarithms(k)
        top = queries.detach().amax(dim=-1, keepdim=True)
        return (queries - top).exp().add(EPS).to(q.dtype), keys.exp().add(EPS).to(k.dtype)

    def _logarithms(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32)) / x.shape[-1] ** 0.25
        return wide @ self.directions.to(wide.dtype).T - wide.square().sum(-1, keepdim=True) / 2


def orthogonal(count: int, dim: int, seed: int) -> Float[Tensor, "m d"]:
    """Draw directions, orthogonal in groups of `dim`, as long as normal vectors."""
    generator = torch.Generator("cpu").manual_seed(seed)
    shape = (-(-count // dim), dim, dim)
    normal = torch.randn(shape, generator=generator, device="cpu", dtype=torch.float64)
    lengths = torch.randn(shape, generator=generator, device="cpu", dtype=torch.float64).norm(
        dim=-1, keepdim=True
    )
    turned, r = torch.linalg.qr(normal)
    turned = turned * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)  # or some turns are rarer
    return (turned * lengths).flatten(0, 1)[:count].float()


def cost(options: PerformerOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call, features included."""
    features = options.count(shape.head_dim)
    return feature_cost(
        shape,
        impl,
        features=features,
        chunk=options.chunk,
        mapping=2 * features * shape.head_dim,
    )


VARIANT = Variant(
    module=PerformerAttention,
    options=PerformerOptions,
    impls=("chunked", "recurrent", "reference"),
    cost=cost,
    causal=True,
    exact=False,
    # exp takes errors of the exponent as they are: features of 1e3 and 1e-6 share a float32 sum.
    tolerance=5.0,
)
