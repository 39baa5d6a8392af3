"""What training does to a reversible stack beside a plain backward: nothing goes wrong silently."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from models.layers.reversible import ReversibleStack

WIDTH = 8
Make = Callable[..., list[nn.Module]]


def both(modules: list[nn.Module]) -> tuple[ReversibleStack, ReversibleStack]:
    """Return the reversible stack and plain autograd over the same modules."""
    return ReversibleStack(modules), ReversibleStack(modules, keep_activations=True)


def inputs(dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, 21, WIDTH, generator=generator).to(dtype).requires_grad_()


def loss(stack: nn.Module, x: Tensor) -> Tensor:
    torch.manual_seed(3)
    a, b = stack(x)
    return (a.square() + b.square() * a).mean()


def close(found: Any, expected: Any, limit: float) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= limit * other.norm()


def gradients(stack: ReversibleStack, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    x = inputs(dtype)
    return list(torch.autograd.grad(loss(stack, x), (x, *stack.parameters())))


@pytest.mark.parametrize(("dtype", "limit"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
def test_memcnn_forgets_autocast_in_the_backward_and_ours_enters_it_again(
    sublayers: Make, dtype: torch.dtype, limit: float
) -> None:
    """Also where the backward is called inside the autocast region, against all advice."""
    reversible, plain = both(sublayers(3))
    x = inputs(torch.float32)
    leaves = (x, *plain.parameters())
    seen: set[torch.dtype] = set()
    for module in reversible.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda *arguments: seen.add(arguments[2].dtype))
    with torch.autocast("cpu", dtype=dtype):
        inside = torch.autograd.grad(loss(reversible, x), leaves)
        one, other = loss(reversible, x), loss(plain, x)
    torch.testing.assert_close(one, other)
    expected = torch.autograd.grad(other, leaves)
    close(torch.autograd.grad(one, leaves), expected, limit)
    close(inside, expected, limit)
    assert seen == {dtype}  # in the runs of the backward too


@pytest.mark.parametrize("scale", [2.0**10, 2.0**60])
def test_a_gradient_scaler_sees_the_same_gradients_and_the_same_overflow(
    sublayers: Make, scale: float
) -> None:
    steps = []
    for keep in (False, True):
        stack = ReversibleStack(sublayers(2), keep_activations=keep)
        optimizer = torch.optim.SGD(stack.parameters(), lr=1.0)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        with torch.autocast("cpu", dtype=torch.float16):
            value = loss(stack, inputs(torch.float32))
        scaler.scale(value).backward()
        before = [p.detach().clone() for p in stack.parameters()]
        scaler.step(optimizer)
        scaler.update()
        steps.append([p.detach() - old for p, old in zip(stack.parameters(), before, strict=True)])
        assert (scaler.get_scale() < scale) == (scale > 2**50)
    if scale > 2**50:
        assert not any(step.any() for step in steps[0])  # refused, as for plain autograd
    close(steps[0], steps[1], 5e-3)


def test_lucid_loses_the_gradient_of_short_sequences_and_ours_has_it_at_any_length(
    sublayers: Make,
) -> None:
    reversible, plain = both([m.double() for m in sublayers(2)])
    for length in (1, 2, 5, 6, 21):
        x = inputs().detach()[:, :length]
        found = torch.autograd.grad(loss(reversible, x), list(reversible.parameters()))
        close(found, torch.autograd.grad(loss(plain, x), list(plain.parameters())), 1e-9)


def test_hf_asserts_training_mode_in_the_backward_and_ours_needs_none(sublayers: Make) -> None:
    reversible, plain = both([m.double().eval() for m in sublayers(2)])
    close(gradients(reversible), gradients(plain), 1e-9)


class Twice(nn.Module):
    """Hashes half of the sequence at a time, as attention in sections does."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.inner(part) for part in x.split(11, dim=1)], dim=1)


def test_lucid_keeps_the_buckets_of_the_last_section_and_ours_those_of_all(sublayers: Make) -> None:
    modules = [m.double() for m in sublayers(2)]
    reversible, plain = both([Twice(modules[0]), modules[1], Twice(modules[2]), modules[3]])
    close(gradients(reversible), gradients(plain), 1e-9)


def test_hf_draws_differently_in_the_backward_and_ours_consumes_what_plain_autograd_does(
    sublayers: Make,
) -> None:
    reversible, plain = both([m.double() for m in sublayers(2, dropout=0.3)])
    states = []
    for stack in (reversible, plain):
        value = loss(stack, inputs())
        states.append(torch.get_rng_state())
        value.backward()
        assert torch.equal(torch.get_rng_state(), states[-1])
    assert torch.equal(*states)


def test_a_stack_that_is_called_twice_gets_both_gradients(sublayers: Make) -> None:
    reversible, plain = both([m.double() for m in sublayers(2)])

    def twice(stack: ReversibleStack) -> Any:
        torch.manual_seed(3)
        first, _ = stack(inputs())
        a, b = stack(first)
        return torch.autograd.grad((a * b).mean(), list(stack.parameters()))

    close(twice(reversible), twice(plain), 1e-9)


def test_a_graph_that_is_kept_gives_its_gradients_again(sublayers: Make) -> None:
    reversible, _ = both([m.double() for m in sublayers(2)])
    x = inputs()
    value = loss(reversible, x)
    first = torch.autograd.grad(value, (x, *reversible.parameters()), retain_graph=True)
    again = torch.autograd.grad(value, (x, *reversible.parameters()))
    assert all(map(torch.equal, first, again))


def test_a_second_derivative_is_refused_with_advice(sublayers: Make) -> None:
    reversible, plain = both([m.double() for m in sublayers(1)])
    x = inputs()
    with pytest.raises(RuntimeError, match=r"no second derivative.*keep_activations=True"):
        torch.autograd.grad(loss(reversible, x), x, create_graph=True)
    (once,) = torch.autograd.grad(loss(plain, x), x, create_graph=True)
    assert torch.autograd.grad(once.square().sum(), x)[0].any()


def test_weights_that_change_before_the_backward_are_noticed(sublayers: Make) -> None:
    reversible, _ = both([m.double() for m in sublayers(1)])
    value = loss(reversible, inputs())
    with torch.no_grad():
        next(reversible.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


@pytest.mark.parametrize("where", ["save_on_cpu", "checkpoint"])
def test_what_is_saved_elsewhere_comes_back(sublayers: Make, where: str) -> None:
    reversible, plain = both([m.double() for m in sublayers(2)])
    x = inputs()
    leaves = (x, *reversible.parameters())
    if where == "save_on_cpu":
        with torch.autograd.graph.save_on_cpu():
            value = loss(reversible, x)
    else:
        value = checkpoint(lambda x: loss(reversible, x), x, use_reentrant=False)
        assert isinstance(value, Tensor)
    close(torch.autograd.grad(value, leaves), gradients(plain), 1e-9)


def test_weights_may_be_given_from_outside_for_one_call(sublayers: Make) -> None:
    reversible, plain = both([m.double() for m in sublayers(2)])
    given = {name: (p.detach() * 1.5).requires_grad_() for name, p in plain.named_parameters()}
    torch.manual_seed(3)
    a, b = functional_call(reversible, given, (inputs(),))
    found = torch.autograd.grad((a.square() + b.square() * a).mean(), list(given.values()))
    with torch.no_grad():
        for p in plain.parameters():
            p.mul_(1.5)
    close(found, gradients(plain)[1:], 1e-9)


def double(modules: list[nn.Module]) -> list[nn.Module]:
    return [module.double() for module in modules]


def test_memory_between_forward_and_backward_does_not_grow_with_depth(
    sublayers: Make, allocations: Any
) -> None:
    """Only the decisions of each layer are kept, and its random states of 5 kB, not seen here."""
    x = torch.randn(1, 2000, WIDTH, dtype=torch.float64, requires_grad=True)
    kept: dict[tuple[bool, int], int] = {}
    for keep in (False, True):
        for depth in (1, 4):
            stack = ReversibleStack(double(sublayers(depth, section=500)), keep_activations=keep)
            with allocations() as forward:
                value = loss(stack, x)
                kept[keep, depth] = forward.look()
            del value
    buckets = 8 * 2000
    assert kept[False, 4] - kept[False, 1] == 3 * buckets
    assert kept[True, 4] - kept[True, 1] > 3 * 10 * x.nbytes


def test_memory_of_the_backward_does_not_grow_with_depth(sublayers: Make, allocations: Any) -> None:
    x = torch.randn(1, 2000, WIDTH, dtype=torch.float64, requires_grad=True)
    peaks = []
    for depth in (2, 5):
        stack = ReversibleStack(double(sublayers(depth, section=500)))
        value = loss(stack, x)
        with allocations() as backward:
            value.backward()
        peaks.append(backward.peak - sum(p.nbytes for p in stack.parameters()))
    assert peaks[1] == pytest.approx(peaks[0], rel=0.01)


@pytest.mark.parametrize("count", [1, 3])
def test_an_odd_number_of_sublayers_is_undone_as_well(sublayers: Make, count: int) -> None:
    reversible, plain = both([m.double() for m in sublayers(2)[:count]])
    close(gradients(reversible), gradients(plain), 1e-9)


class Constant(nn.Module):
    """Does not look at its input, and may be without weights in use."""

    def __init__(self, *, trained: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH, dtype=torch.float64))
        self.trained = trained

    def forward(self, x: Tensor) -> Tensor:
        one = self.weight if self.trained else torch.ones_like(self.weight)
        return one.expand_as(x)


@pytest.mark.parametrize("trained", [True, False])
def test_a_sublayer_may_ignore_its_input(sublayers: Make, trained: bool) -> None:
    constant = Constant(trained=trained)
    reversible, plain = both([*(m.double() for m in sublayers(1)), constant])
    x = inputs()
    leaves = [p for p in reversible.parameters() if trained or p is not constant.weight]
    found = torch.autograd.grad(loss(reversible, x), (x, *leaves))
    close(found, torch.autograd.grad(loss(plain, x), (x, *leaves)), 1e-9)
    loss(reversible, x).backward()
    assert (constant.weight.grad is not None) == trained
