"""The feed-forward network is its formula and has the parameters that it says."""

import pytest
import torch
from torch.nn import functional

from models.catalog import UnknownNameError
from models.layers.feed_forward import ACTIVATIONS, FeedForward, matrices


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_a_plain_network_is_its_formula(activation: str) -> None:
    layer = FeedForward(d_model=3, d_ff=5, activation=activation)
    x = torch.randn(1, 2, 3)
    wide = getattr(functional, activation)(x @ layer.widen.weight.T + layer.widen.bias)
    torch.testing.assert_close(layer(x), wide @ layer.narrow.weight.T + layer.narrow.bias)
    assert sum(p.numel() for p in layer.parameters()) == 2 * 3 * 5 + 5 + 3


def test_a_gated_network_is_its_formula() -> None:
    layer = FeedForward(d_model=3, d_ff=5, activation="swiglu")
    x = torch.randn(1, 2, 3)
    assert layer.gate is not None
    gate = x @ layer.gate.weight.T
    wide = gate * torch.sigmoid(gate) * (x @ layer.widen.weight.T)
    torch.testing.assert_close(layer(x), wide @ layer.narrow.weight.T)
    assert sum(p.numel() for p in layer.parameters()) == 3 * 3 * 5


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_weights_of_two_axes_are_as_many_matrices_as_counted(activation: str) -> None:
    layer = FeedForward(d_model=3, d_ff=5, activation=activation)
    assert sum(p.ndim == 2 for p in layer.parameters()) == matrices(activation)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_dropout_acts_in_training_only(activation: str) -> None:
    layer = FeedForward(d_model=3, d_ff=50, activation=activation, dropout=0.5)
    x = torch.randn(1, 2, 3)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


def test_an_unknown_activation_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown activation 'gellu'; did you mean 'gelu'"):
        FeedForward(d_model=3, d_ff=5, activation="gellu")
