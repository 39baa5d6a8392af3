"""Blocks that keep their input only and run again in the backward (Chen et al. 2016)."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.layers.replay import Replay


def checkpointed(
    block: nn.Module, x: Float[Tensor, "b t m"], **extras: Any
) -> Float[Tensor, "b t m"]:
    """Return `block(x, **extras)` without keeping what happens inside.

    The second run repeats the random draws and the decisions of the first, so it is the same
    function: memory of one block at a time, for one more forward.
    """
    replay = Replay(x.device)
    return checkpoint(
        block,
        x,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (replay.recording(), replay.repeating()),
        **extras,
    )
