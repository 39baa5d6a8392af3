"""A network in sections is the network, and has the activations of one section only."""

from typing import Any

import pytest
import torch
from torch import nn

from models.layers.feed_forward import FeedForward
from models.layers.reversible import ReversibleStack
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


@pytest.mark.parametrize("stack", ["reversible", "plain", "alone"])
def test_lucid_sections_save_no_backward_memory_and_ours_do(stack: str, allocations: Any) -> None:
    """In the backward too the wide activations of one section exist, not those of all."""
    width, d_ff, section, length = 6, 400, 4, 64
    peaks: dict[int, int] = {}
    for size in (section, length):
        inner = FeedForward(d_model=width, d_ff=d_ff, activation="gelu")
        sectioned = Sectioned(Sublayer(inner, d_model=width), section=size)
        x = torch.randn(1, length, width, requires_grad=True)
        module: nn.Module = sectioned
        if stack != "alone":
            module = ReversibleStack([sectioned, sectioned], keep_activations=stack == "plain")
        found = module(x)
        loss = (found if stack == "alone" else torch.cat(found)).sum()
        with allocations() as backward:
            loss.backward()
        peaks[size] = backward.peak
    weights = 3 * 4 * 2 * width * d_ff  # gradients, their sums, and the shares being added
    assert peaks[length] > 2 * 4 * length * d_ff
    assert peaks[section] < 6 * 4 * section * d_ff + weights + 20 * 4 * length * width


def test_the_extra_arguments_that_a_sublayer_takes_reach_its_module() -> None:
    class Shifted(nn.Module):
        def forward(self, x: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
            return x + by

    x, by = torch.randn(1, 3, 6), torch.ones(6)
    sublayer = Sublayer(Shifted(), d_model=6, takes=("by", "missing"))
    torch.testing.assert_close(sublayer(x, by=by, other=1, missing=None), sublayer.norm(x) + by)
    position_wise = Sectioned(Sublayer(nn.Identity(), d_model=6), section=2)
    torch.testing.assert_close(position_wise(x, by=by), position_wise(x))


def test_an_empty_section_is_refused() -> None:
    with pytest.raises(ValueError, match="section: 0"):
        Sectioned(network(), section=0)
