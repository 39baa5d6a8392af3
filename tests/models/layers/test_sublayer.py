"""A network in sections is the network, and keeps the activations of one section only."""

import pytest
import torch

from models.catalog import UnknownNameError
from models.layers.feed_forward import FeedForward
from models.layers.sublayer import Sectioned, Sublayer


def network(dropout: float = 0.0, activation: str = "gelu") -> Sublayer:
    torch.manual_seed(0)
    inner = FeedForward(d_model=6, d_ff=40, activation=activation, dropout=dropout)
    return Sublayer(inner, d_model=6, dropout=dropout).double()


@pytest.mark.parametrize("section", [1, 3, 4, 11, 12, 99])
def test_sections_change_neither_values_nor_gradients(section: int) -> None:
    whole = network()
    x = torch.randn(2, 11, 6, dtype=torch.float64, requires_grad=True)
    leaves = (x, *whole.parameters())
    sectioned = Sectioned(whole, section=section)
    torch.testing.assert_close(sectioned(x), whole(x), rtol=1e-12, atol=1e-12)
    found = torch.autograd.grad(sectioned(x).square().sum(), leaves)
    expected = torch.autograd.grad(whole(x).square().sum(), leaves)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(sectioned(x), whole(x), rtol=1e-12, atol=1e-12)


def test_dropout_of_a_section_is_the_same_in_its_backward() -> None:
    sectioned = Sectioned(network(dropout=0.5), section=2)
    x = torch.randn(1, 6, 6, dtype=torch.float64, requires_grad=True)

    def call(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        return sectioned(x)

    assert torch.autograd.gradcheck(call, x)


def test_saved_activations_do_not_hold_the_wide_layer() -> None:
    x = torch.randn(1, 64, 6, dtype=torch.float64, requires_grad=True)
    kept = {}
    for section in (4, 64):
        sizes: list[int] = []
        keep = torch.autograd.graph.saved_tensors_hooks(
            lambda t, sizes=sizes: (sizes.append(t.numel()), t)[1], lambda t: t
        )
        sectioned = Sectioned(network(), section=section)
        with keep:
            sectioned(x)
        kept[section] = sum(sizes)
    assert kept[64] > 64 * 40
    assert kept[4] <= x.numel()


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_feed_forward_is_its_formula(activation: str) -> None:
    layer = FeedForward(d_model=3, d_ff=5, activation=activation)
    x = torch.randn(1, 2, 3)
    act = getattr(torch.nn.functional, activation)
    wide = act(x @ layer.widen.weight.T + layer.widen.bias)
    expected = wide @ layer.narrow.weight.T + layer.narrow.bias
    torch.testing.assert_close(layer(x), expected)


def test_bad_values_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown activation 'gellu'; did you mean 'gelu'"):
        network(activation="gellu")
    with pytest.raises(ValueError, match="section: 0"):
        Sectioned(network(), section=0)
