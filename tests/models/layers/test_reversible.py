"""The reversible stack has the values and gradients of plain autograd and forgets activations."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.layers.attention_layer import AttentionLayer, find_mechanism
from models.layers.feed_forward import FeedForward
from models.layers.replay import decide
from models.layers.reversible import ReversibleStack
from models.layers.sublayer import Sectioned, Sublayer

WIDTH = 8


def sublayers(depth: int, *, dropout: float = 0.2, section: int | None = 5) -> list[nn.Module]:
    """Return `depth` pairs of multi-round LSH attention and a sectioned feed-forward network."""
    torch.manual_seed(1)
    lsh = find_mechanism("lsh", {"hashes": 3, "chunk": 4})
    layers: list[nn.Module] = []
    for layer in range(depth):
        attention = lsh.build(causal=True, head_dim=4, layer=layer)
        inner = AttentionLayer(attention, d_model=WIDTH, heads=2, head_dim=4)
        network = Sublayer(
            FeedForward(d_model=WIDTH, d_ff=12, activation="gelu", dropout=dropout),
            d_model=WIDTH,
            dropout=dropout,
        )
        layers += [
            Sublayer(inner, d_model=WIDTH, dropout=dropout),
            network if section is None else Sectioned(network, section=section),
        ]
    return layers


def inputs(dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, 21, WIDTH, generator=generator).to(dtype).requires_grad_()


def loss(stack: ReversibleStack, x: Tensor) -> Tensor:
    torch.manual_seed(3)
    a, b = stack(x)
    return (a.square() + b.square() * a).sum()


def both(modules: list[nn.Module]) -> tuple[ReversibleStack, ReversibleStack]:
    """Return the reversible stack and plain autograd over the same modules."""
    return ReversibleStack(modules), ReversibleStack(modules, keep_activations=True)


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm().clamp_min(1e-30))


@pytest.mark.parametrize("section", [None, 5, 100])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_are_those_of_plain_autograd(dropout: float, section: int | None) -> None:
    reversible, plain = both([m.double() for m in sublayers(4, dropout=dropout, section=section)])
    x = inputs()
    leaves = (x, *plain.parameters())
    one, other = loss(reversible, x), loss(plain, x)
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    for found, expected in zip(
        torch.autograd.grad(one, leaves), torch.autograd.grad(other, leaves), strict=True
    ):
        assert relative(found, expected) < 1e-9
    assert all(p.grad is None for p in plain.parameters())  # nothing is written behind the back


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_lower_precision_loses_nothing_on_the_way_back(dtype: torch.dtype, limit: float) -> None:
    reversible, plain = both([m.to(dtype) for m in sublayers(6)])
    x = inputs(dtype)
    leaves = (x, *plain.parameters())
    found = torch.autograd.grad(loss(reversible, x), leaves)
    expected = torch.autograd.grad(loss(plain, x), leaves)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        assert relative(one.float(), other.float()) < limit


def test_autocast_is_entered_again_on_the_way_back() -> None:
    reversible, plain = both(sublayers(4))
    x = inputs(torch.float32)
    leaves = (x, *plain.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        one, other = loss(reversible, x), loss(plain, x)
    torch.testing.assert_close(one, other)
    for found, expected in zip(
        torch.autograd.grad(one, leaves), torch.autograd.grad(other, leaves), strict=True
    ):
        assert relative(found, expected) < 5e-3


class Exact(nn.Module):
    """Leaves autocast for its own product."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return torch.tanh(x.float() @ self.weight)


def test_the_backward_itself_runs_outside_autocast() -> None:
    reversible, plain = both([Exact() for _ in range(4)])
    x = inputs(torch.float32)
    leaves = (x, *plain.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        one, other = loss(reversible, x), loss(plain, x)
    for found, expected in zip(
        torch.autograd.grad(one, leaves), torch.autograd.grad(other, leaves), strict=True
    ):
        assert relative(found, expected) < 1e-5


def test_frozen_inputs_and_frozen_weights_leave_the_others_their_gradients() -> None:
    modules = [m.double() for m in sublayers(2)]
    reversible, plain = both(modules)
    frozen = next(iter(modules[1].parameters()))
    frozen.requires_grad_(False)
    trained = [p for p in plain.parameters() if p is not frozen]
    x = inputs().detach()
    found = torch.autograd.grad(loss(reversible, x), trained)
    expected = torch.autograd.grad(loss(plain, x), trained)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_backward_adds_to_gradients_that_are_there() -> None:
    reversible, plain = both([m.double() for m in sublayers(2)])
    for _ in range(2):
        loss(reversible, inputs()).backward()
    expected = torch.autograd.grad(loss(plain, inputs()), list(plain.parameters()))
    for parameter, once in zip(plain.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * once)


def test_weights_that_two_layers_share_get_both_gradients() -> None:
    one, two = (m.double() for m in sublayers(1))
    reversible, plain = both([one, two, one, two])
    found = torch.autograd.grad(loss(reversible, inputs()), list(reversible.parameters()))
    expected = torch.autograd.grad(loss(plain, inputs()), list(plain.parameters()))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


class Fickle(nn.Module):
    """Decides anew at each call, as a hash would whose vectors have moved."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH, dtype=torch.float64))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        sign = decide(lambda: torch.tensor((-1.0) ** self.calls, dtype=torch.float64))
        return torch.tanh(x * self.weight * sign)


def test_decisions_are_replayed_and_not_made_again() -> None:
    reversible = ReversibleStack([Fickle() for _ in range(4)])
    plain = ReversibleStack([Fickle() for _ in range(4)], keep_activations=True)
    x = inputs()
    found = torch.autograd.grad(loss(reversible, x), (x, *reversible.parameters()))
    expected = torch.autograd.grad(loss(plain, x), (x, *plain.parameters()))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_random_state_is_the_same_before_and_after_the_backward() -> None:
    reversible, _ = both([m.double() for m in sublayers(2)])
    value = loss(reversible, inputs())
    torch.manual_seed(4321)
    state = torch.get_rng_state()
    value.backward()
    assert torch.equal(torch.get_rng_state(), state)


def saved_elements(stack: ReversibleStack) -> int:
    """Count what autograd keeps for the backward, weights not counted."""
    weights = {p.data_ptr() for p in stack.parameters()}
    kept: list[int] = []

    def pack(tensor: Tensor) -> Any:
        kept.append(0 if tensor.data_ptr() in weights else tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        stack(inputs())
    return sum(kept)


def test_kept_activations_do_not_grow_with_depth() -> None:
    shallow, plain = both([m.double() for m in sublayers(2)])
    deep, deep_plain = both([m.double() for m in sublayers(8)])
    assert saved_elements(deep) == saved_elements(shallow) == 2 * inputs().numel()
    assert saved_elements(deep_plain) > 3 * saved_elements(plain)


def test_evaluation_without_gradients_gives_the_same_streams() -> None:
    reversible, plain = both([m.double().eval() for m in sublayers(3)])
    with torch.no_grad():
        without = reversible(inputs())
    torch.testing.assert_close(without, reversible(inputs()))
    torch.testing.assert_close(without, plain(inputs()))
