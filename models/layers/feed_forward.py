"""The position-wise feed-forward network."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from models.catalog import UnknownNameError, unknown

ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}


class FeedForward(nn.Module):
    """`FFN(x) = act(x W1 + b1) W2 + b2` (Vaswani et al. 2017, section 3.3).

    Raises:
        UnknownNameError: the activation is not known.
    """

    def __init__(self, *, d_model: int, d_ff: int, activation: str, dropout: float = 0.0) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise UnknownNameError(unknown("activation", activation, sorted(ACTIVATIONS)))
        self.widen = nn.Linear(d_model, d_ff)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)
        self.narrow = nn.Linear(d_ff, d_model)

    def forward(self, x: Float[Tensor, "b t m"]) -> Float[Tensor, "b t m"]:
        """Apply the network to each position."""
        return self.narrow(self.dropout(self.activation(self.widen(x))))
