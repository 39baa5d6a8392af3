"""One sublayer computed again and differentiated: the step of a reversible stack's walk back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from models.layers.sublayer import Sectioned


class Leaves:
    """The extra tensors and the parameters of a stack, as leaves; and their gradients so far.

    A sublayer is run with these leaves in the place of its parameters: they are what the forward
    used, wherever `saved_tensors_hooks` or `functional_call` have put it since. Gradients are
    added up in float32 at least.
    """

    def __init__(
        self,
        sublayers: nn.ModuleList,
        names: Sequence[str],
        tensors: Sequence[Tensor],
        wanted: Sequence[bool],
    ) -> None:
        self._leaves = [x.detach().requires_grad_(w) for x, w in zip(tensors, wanted, strict=True)]
        self._sums: list[Tensor | None] = [None] * len(tensors)
        self._names = names
        parameters = enumerate(sublayers.parameters(), len(names))
        self._number = {id(parameter): number for number, parameter in parameters}

    @property
    def extras(self) -> dict[str, Tensor]:
        """The extra tensors by name."""
        return dict(zip(self._names, self._leaves, strict=False))

    def of(self, module: nn.Module) -> dict[str, Tensor]:
        """Return a module's parameters by name."""
        numbers = {name: self._number[id(p)] for name, p in module.named_parameters()}
        return {name: self._leaves[number] for name, number in numbers.items()}

    def trained(self, module: nn.Module) -> list[int]:
        """Return the numbers of the leaves that a module may send gradients to."""
        numbers = [*range(len(self._names)), *(self._number[id(p)] for p in module.parameters())]
        return [number for number in numbers if self._leaves[number].requires_grad]

    def differentiate(
        self, output: Tensor, x: Tensor, grad: Tensor, trained: Sequence[int]
    ) -> Tensor:
        """Return the gradient of x; add those of the leaves with the given numbers."""
        if not output.requires_grad:
            return torch.zeros_like(x)
        grad_x, *found = torch.autograd.grad(
            output, (x, *(self._leaves[number] for number in trained)), grad, allow_unused=True
        )
        for number, gradient in zip(trained, found, strict=True):
            if gradient is not None:
                share, known = gradient.to(wide(gradient.dtype)), self._sums[number]
                self._sums[number] = share if known is None else known + share
        return torch.zeros_like(x) if grad_x is None else grad_x

    def gradients(self) -> list[Tensor | None]:
        """Return the gradients in their tensors' precision; None where there is none."""
        pairs = zip(self._sums, self._leaves, strict=True)
        return [None if total is None else total.to(leaf.dtype) for total, leaf in pairs]


def pull_back(
    sublayer: nn.Module,
    x: Tensor,
    grad: Tensor,
    dtype: torch.dtype,
    leaves: Leaves,
    others: Mapping[str, Any],
) -> tuple[Tensor, Tensor]:
    """Return the sublayer's output and the gradient of its input; add those of the leaves.

    The gradient of the output is known before the output is, so a sectioned sublayer is done
    with one section, forward and backward, before the next. `dtype` is the model's precision,
    `others` are extra arguments that are no tensors.
    """
    section, inner = x.shape[1], sublayer
    extras: dict[str, Any] = {**others, **leaves.extras}
    if isinstance(sublayer, Sectioned):
        section, inner, extras = sublayer.section, sublayer.inner, {}
    run = partial(_call, inner, leaves.of(inner))
    trained = leaves.trained(inner)
    outputs: list[Tensor] = []
    gradients: list[Tensor] = []
    for part, grad_part in zip(x.split(section, 1), grad.split(section, 1), strict=True):
        leaf = part.detach().requires_grad_()
        with torch.enable_grad():
            # A view, since hooks on a module's inputs, as FLOP counters set, refuse leaves.
            output = apply(run, leaf.view_as(leaf), dtype, extras)
        with torch.autocast(x.device.type, enabled=False):  # a backward runs outside autocast
            gradients.append(leaves.differentiate(output, leaf, grad_part, trained))
        outputs.append(output.detach())
    return torch.cat(outputs, dim=1), torch.cat(gradients, dim=1)


def apply(
    sublayer: Callable[..., Tensor], x: Tensor, dtype: torch.dtype, extras: Mapping[str, Any]
) -> Tensor:
    """Run a sublayer in the model's precision on a stream in the stack's."""
    return sublayer(x.to(dtype), **extras).to(x.dtype)


def wide(dtype: torch.dtype) -> torch.dtype:
    """Return float32, or the dtype if it is wider."""
    return torch.promote_types(dtype, torch.float32)


def _call(module: nn.Module, parameters: dict[str, Tensor], x: Tensor, **extras: Any) -> Tensor:
    return functional_call(module, parameters, (x,), extras)
