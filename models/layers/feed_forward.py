"""The position-wise feed-forward network, plain or gated."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from models.catalog import UnknownNameError, unknown

ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "swiglu": nn.SiLU}


class FeedForward(nn.Module):
    """`FFN(x) = act(x W1 + b1) W2 + b2` (Vaswani et al. 2017, section 3.3), or SwiGLU.

    `swiglu` is `(silu(x W) * x V) W2` without biases (Shazeer 2020, equation 6): three matrices,
    `3 d_model d_ff` parameters and not `2 d_model d_ff + d_ff + d_model`. For the same number of
    parameters take two thirds of the d_ff.

    Raises:
        UnknownNameError: the activation is not known.
    """

    def __init__(self, *, d_model: int, d_ff: int, activation: str, dropout: float = 0.0) -> None:
        super().__init__()
        gated = matrices(activation) == 3
        self.gate = nn.Linear(d_model, d_ff, bias=False) if gated else None
        self.widen = nn.Linear(d_model, d_ff, bias=not gated)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)
        self.narrow = nn.Linear(d_ff, d_model, bias=not gated)

    def forward(self, x: Float[Tensor, "b t m"]) -> Float[Tensor, "b t m"]:
        """Apply the network to each position."""
        wide = self.widen(x)
        wide = self.activation(wide) if self.gate is None else self.activation(self.gate(x)) * wide
        return self.narrow(self.dropout(wide))


def matrices(activation: str) -> int:
    """Return how many matrices of `d_model d_ff` weights the network has.

    Raises:
        UnknownNameError: the activation is not known.
    """
    if activation not in ACTIVATIONS:
        raise UnknownNameError(unknown("activation", activation, sorted(ACTIVATIONS)))
    return 3 if activation == "swiglu" else 2
