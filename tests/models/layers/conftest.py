"""What tests of memory-saving layers share."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models.layers.feed_forward import FeedForward
from models.layers.replay import decide
from models.layers.sublayer import Sectioned, Sublayer

WIDTH = 8


class Allocations(TorchDispatchMode):
    """Watches the memory of every tensor that an operation makes, in forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0  # bytes that exist now
        self.peak = 0  # bytes that existed at once
        self.largest = 0  # elements of the largest tensor
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.look()
        inputs = filter(_is, tree_leaves((args, kwargs)))
        given = {x.untyped_storage()._cdata for x in inputs} - self._storages.keys()
        for x in filter(_is, tree_leaves(out)):
            storage = x.untyped_storage()
            if storage._cdata not in given:
                self._storages[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
                self.largest = max(self.largest, x.numel())
        self.look()
        self.peak = max(self.peak, self.live)
        return out

    def look(self) -> int:
        """Forget what has been freed; return the bytes that exist now."""
        kept = {key: entry for key, entry in self._storages.items() if not entry[0].expired()}
        self._storages = kept
        self.live = sum(nbytes for _, nbytes in kept.values())
        return self.live


def _is(x: Any) -> bool:
    return isinstance(x, Tensor)


@pytest.fixture
def allocations() -> type[Allocations]:
    """The watcher, to be entered once for each thing that is watched."""
    return Allocations


class Hashing(nn.Module):
    """Jumps as a hash does: each token is multiplied by the matrix of its bucket."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(4, WIDTH, WIDTH) / WIDTH**0.5)

    def forward(self, x: Tensor) -> Tensor:
        buckets = decide(lambda: (x.detach() * 1e6).sum(-1).round().long() % 4)
        return torch.einsum("btm,btmn->btn", x, self.weights[buckets])


@pytest.fixture
def sublayers() -> Callable[..., list[nn.Module]]:
    """Return a maker of `depth` pairs of something that hashes and a sectioned network."""

    def make(depth: int, *, dropout: float = 0.2, section: int = 5) -> list[nn.Module]:
        torch.manual_seed(1)
        made: list[nn.Module] = []
        for _ in range(depth):
            network = FeedForward(d_model=WIDTH, d_ff=12, activation="gelu", dropout=dropout)
            made += [
                Sublayer(Hashing(), d_model=WIDTH, dropout=dropout),
                Sectioned(Sublayer(network, d_model=WIDTH, dropout=dropout), section=section),
            ]
        return made

    return make
