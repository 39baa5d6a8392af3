"""Reversible residual stack: the memory of one layer, whatever the depth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models.layers.replay import Replay
from models.layers.sublayer import Sectioned


class ReversibleStack(nn.Module):
    """Two residual streams through sublayers s_1, s_2, ...: `(a, b) -> (b, a + s(b))`.

    Two steps are the block of Gomez et al. 2017: `y1 = x1 + F(x2)`, `y2 = x2 + G(y1)`. Each step is
    undone by `(a', b') -> (b' - s(a'), a')`, so the backward needs the last streams only: it walks
    back, computes every sublayer again under `Replay`, and forgets it. Streams are kept in float32
    at least, or the walk back would lose what bfloat16 rounds away.
    """

    def __init__(self, sublayers: Iterable[nn.Module], *, keep_activations: bool = False) -> None:
        super().__init__()
        self.sublayers = nn.ModuleList(sublayers)
        self.keep_activations = keep_activations  # plain autograd: the oracle, and faster

    def forward(
        self, x: Float[Tensor, "b t m"]
    ) -> tuple[Float[Tensor, "b t m"], Float[Tensor, "b t m"]]:
        """Send `x` through the stack as both streams; return both."""
        if self.keep_activations or not torch.is_grad_enabled():
            a = b = x.to(_wide(x.dtype))
            for sublayer in self.sublayers:
                a, b = b, a + _apply(sublayer, b, x.dtype)
        else:
            a, b = _Reversible.apply(self.sublayers, x, *self.parameters())
        return a.to(x.dtype), b.to(x.dtype)


class _Reversible(torch.autograd.Function):
    """The whole stack as one function of its input and its parameters.

    Parameters are arguments, and their gradients are returned and not written: so
    `torch.autograd.grad`, frozen inputs, gradient hooks and gradient scalers work.
    """

    @staticmethod
    def forward(
        ctx: Any, sublayers: nn.ModuleList, x: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.sublayers, ctx.dtype, ctx.replays = sublayers, x.dtype, []
        a = b = x.to(_wide(x.dtype))
        for sublayer in sublayers:
            replay = Replay(x.device)
            with replay.recording():
                a, b = b, a + _apply(sublayer, b, x.dtype)
            ctx.replays.append(replay)
        ctx.save_for_backward(a, b, *parameters)
        return a, b

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - the base has any number
        ctx: Any, grad_a: Tensor, grad_b: Tensor
    ) -> tuple[Tensor | None, ...]:
        a, b, *parameters = ctx.saved_tensors
        trained = ctx.needs_input_grad[2:]
        sums = _Sums(p for p, wanted in zip(parameters, trained, strict=True) if wanted)
        for sublayer, replay in zip(reversed(ctx.sublayers), reversed(ctx.replays), strict=True):
            with replay.repeating():
                output, grad = _pull_back(sublayer, a, grad_b, ctx.dtype, sums)
            a, b = b - output, a
            grad_a, grad_b = grad_b, grad_a + grad
        grad_x = (grad_a + grad_b).to(ctx.dtype) if ctx.needs_input_grad[1] else None
        return None, grad_x, *(sums.of(p) for p in parameters)


class _Sums:
    """Gradients of parameters, added up in float32 at least."""

    def __init__(self, trained: Iterable[Tensor]) -> None:
        self._trained = {id(p) for p in trained}
        self._sums: dict[int, Tensor] = {}

    def wanted(self, module: nn.Module) -> list[nn.Parameter]:
        """Return the module's parameters that are trained."""
        return [p for p in module.parameters() if id(p) in self._trained]

    def add(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
        """Add a share of each gradient."""
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                share = gradient.to(_wide(gradient.dtype))
                known = self._sums.get(id(parameter))
                self._sums[id(parameter)] = share if known is None else known + share

    def of(self, parameter: Tensor) -> Tensor | None:
        """Return the sum in the parameter's precision; None if there is none."""
        total = self._sums.get(id(parameter))
        return None if total is None else total.to(parameter.dtype)


def _pull_back(
    sublayer: nn.Module, x: Tensor, grad: Tensor, dtype: torch.dtype, sums: _Sums
) -> tuple[Tensor, Tensor]:
    """Return the sublayer's output and the gradient of its input; add those of its parameters.

    The gradient of the output is known before the output is, so a sectioned sublayer is done
    with one section, forward and backward, before the next.
    """
    section, inner = x.shape[1], sublayer
    if isinstance(sublayer, Sectioned):
        section, inner = sublayer.section, sublayer.inner
    parameters = sums.wanted(inner)
    outputs: list[Tensor] = []
    gradients: list[Tensor] = []
    for part, grad_part in zip(x.split(section, 1), grad.split(section, 1), strict=True):
        leaf = part.detach().requires_grad_()
        with torch.enable_grad():
            # A view, since hooks on a module's inputs, as FLOP counters set, refuse leaves.
            output = _apply(inner, leaf.view_as(leaf), dtype)
        with torch.autocast(x.device.type, enabled=False):  # a backward runs outside autocast
            grad_x, *found = torch.autograd.grad(
                output, (leaf, *parameters), grad_part, allow_unused=True
            )
        sums.add(parameters, found)
        outputs.append(output.detach())
        gradients.append(grad_x)
    return torch.cat(outputs, dim=1), torch.cat(gradients, dim=1)


def _apply(sublayer: nn.Module, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Run a sublayer in the model's precision on a stream in the stack's."""
    return sublayer(x.to(dtype)).to(x.dtype)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
