"""Reversible residual stack: the memory of one layer, whatever the depth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.layers.pullback import Leaves, apply, pull_back, wide
from models.layers.replay import Replay


class ReversibleStack(nn.Module):
    """Two residual streams through sublayers s_1, s_2, ...: `(a, b) -> (b, a + s(b))`.

    Two steps are the block of Gomez et al. 2017: `y1 = x1 + F(x2)`, `y2 = x2 + G(y1)`. Each step is
    undone by `(a', b') -> (b' - s(a'), a')`, so the backward needs the last streams only: it walks
    back, computes every sublayer again under `Replay`, and forgets it. Streams are kept in float32
    at least, or the walk back would lose what bfloat16 rounds away.

    Extra arguments go to every sublayer by name: a mask, an encoder's output. Those that are
    tensors get gradients, added up over the sublayers. There is no second derivative: a backward
    with `create_graph=True` is refused, unless `keep_activations`.
    """

    def __init__(self, sublayers: Iterable[nn.Module], *, keep_activations: bool = False) -> None:
        super().__init__()
        self.sublayers = nn.ModuleList(sublayers)
        self.keep_activations = keep_activations  # plain autograd: the oracle, and faster

    def forward(
        self, x: Float[Tensor, "b t m"], **extras: Any
    ) -> tuple[Float[Tensor, "b t m"], Float[Tensor, "b t m"]]:
        """Send `x` through the stack as both streams; return both."""
        if self.keep_activations or not torch.is_grad_enabled():
            a = b = x.to(wide(x.dtype))
            for sublayer in self.sublayers:
                a, b = b, a + apply(sublayer, b, x.dtype, extras)
        else:
            tensors = {name: e for name, e in extras.items() if isinstance(e, Tensor)}
            others = {name: e for name, e in extras.items() if name not in tensors}
            a, b = _Reversible.apply(
                self.sublayers, (*tensors,), others, x, *tensors.values(), *self.parameters()
            )
        return a.to(x.dtype), b.to(x.dtype)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile each sublayer in place, as `torch.compile` would; the walk itself stays eager."""
        for sublayer in self.sublayers:
            sublayer.compile(*args, **kwargs)


class _Reversible(torch.autograd.Function):
    """The whole stack as one function of its input, its extra tensors and its parameters.

    Parameters are arguments, and their gradients are returned and not written: so
    `torch.autograd.grad`, frozen inputs, gradient hooks, gradient scalers and data-parallel
    wrappers work.
    """

    @staticmethod
    def forward(
        ctx: Any,
        sublayers: nn.ModuleList,
        names: tuple[str, ...],
        others: Mapping[str, Any],
        x: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.sublayers, ctx.names, ctx.others = sublayers, names, others
        ctx.dtype, ctx.replays = x.dtype, []
        extras = {**others, **dict(zip(names, tensors, strict=False))}
        a = b = x.to(wide(x.dtype))
        for sublayer in sublayers:
            replay = Replay(x.device)
            with replay.recording():
                a, b = b, a + apply(sublayer, b, x.dtype, extras)
            ctx.replays.append(replay)
        ctx.save_for_backward(a, b, *tensors)
        return a, b

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - the base has any number
        ctx: Any, grad_a: Tensor, grad_b: Tensor
    ) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "create_graph=True: a reversible stack has no second derivative; "
                "build it with keep_activations=True (Reformer: reversible=False)"
            )
        a, b, *tensors = ctx.saved_tensors
        leaves = Leaves(ctx.sublayers, ctx.names, tensors, ctx.needs_input_grad[4:])
        for sublayer, replay in zip(reversed(ctx.sublayers), reversed(ctx.replays), strict=True):
            with replay.repeating():
                output, grad = pull_back(sublayer, a, grad_b, ctx.dtype, leaves, ctx.others)
            a, b = b - output, a
            grad_a, grad_b = grad_b, grad_a + grad
        grad_x = (grad_a + grad_b).to(ctx.dtype) if ctx.needs_input_grad[3] else None
        return None, None, None, grad_x, *leaves.gradients()
