"""In which part a step is: forward, loss, backward or optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

PARTS = ("forward", "loss", "backward", "optimizer")


@contextmanager
def followed(model: nn.Module, enter: Callable[[str], None]) -> Iterator[None]:
    """Call `enter` with the name of each part as a step of this model begins it."""

    def leave(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.requires_grad:
            enter("loss")
            output.register_hook(lambda _: enter("backward"))

    enter("forward")
    hooks = [
        model.register_forward_hook(leave),
        register_optimizer_step_pre_hook(lambda *_: enter("optimizer")),
        register_optimizer_step_post_hook(lambda *_: enter("forward")),  # of the next step
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
