"""Linear attention: features, no softmax (Katharopoulos et al. 2020). O(N), O(1) state."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import elu

from models.layers.feature_attention import FeatureAttention, feature_cost
from models.variant import Cost, Shape, Unsupported, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearOptions:
    """How the causal sum is cut.

    Raises:
        ValueError: a size is impossible.
    """

    chunk: int = 64  # tokens that are attended by pairs

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise ValueError(f"chunk: {self.chunk}; at least 1")


class LinearAttention(FeatureAttention):
    """`w_ij = f(q_i) . f(k_j)`, `f(x) = elu(x) + 1` ("Transformers are RNNs", equations 4 to 7).

    Time is O(N d^2), the state of decoding d (d + 1) numbers a head.

    impls: see `FeatureAttention`.
    """

    def __init__(
        self,
        options: LinearOptions,
        *,
        causal: bool,
        impl: str,
        head_dim: int,  # noqa: ARG002 - any
    ) -> None:
        if impl == "recurrent" and not causal:
            raise Unsupported("linear.recurrent: goes token by token, which is causal")
        super().__init__(causal=causal, impl=impl, chunk=options.chunk)
        self.options = options

    def features(
        self, q: Float[Tensor, "b h t d"], k: Float[Tensor, "b h s d"]
    ) -> tuple[Float[Tensor, "b h t d"], Float[Tensor, "b h s d"]]:
        """Return `elu(x) + 1`."""
        return elu(q) + 1, elu(k) + 1


def cost(options: LinearOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call."""
    return feature_cost(shape, impl, features=shape.head_dim, chunk=options.chunk, mapping=0)


VARIANT = Variant(
    module=LinearAttention,
    options=LinearOptions,
    impls=("chunked", "recurrent", "reference"),
    cost=cost,
    causal=True,
    exact=False,
)
