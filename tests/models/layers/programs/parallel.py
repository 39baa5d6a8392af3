"""One of several processes that train a reversible stack together: rank, world size, folder.

It writes its input's gradients, as averaged over the processes, for each way to wrap the stack.
"""

import sys
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from models.layers.feed_forward import FeedForward
from models.layers.reversible import ReversibleStack
from models.layers.sublayer import Sectioned, Sublayer

WIDTH, BATCH, STEPS = 8, 4, 2
WRAPS = {
    "plain": {},
    "unused": {"find_unused_parameters": True},
    "static": {"static_graph": True},
    "views": {"gradient_as_bucket_view": True, "bucket_cap_mb": 0.001},
}


class Network(nn.Module):
    """A stack between an input whose weights are frozen and a head; optionally a part unused."""

    def __init__(self, *, unused: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for _ in range(3):
            inner = FeedForward(d_model=WIDTH, d_ff=12, activation="gelu")
            network = FeedForward(d_model=WIDTH, d_ff=12, activation="relu")
            layers += [
                Sublayer(inner, d_model=WIDTH),
                Sectioned(Sublayer(network, d_model=WIDTH), section=4),
            ]
        self.frozen = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        self.stack = ReversibleStack(layers)
        self.head = nn.Linear(WIDTH, 1)
        self.unused = nn.Linear(WIDTH, 1) if unused else None
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.stack(self.frozen(x))
        return self.head(a * b).square().mean(dim=(1, 2))


def batch(step: int) -> Tensor:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(BATCH, 9, WIDTH, generator=generator, dtype=torch.float64)


def gradients(model: nn.Module, rows: slice, *, accumulate: bool) -> list[Tensor]:
    """Return the gradients after the steps, accumulated or of the last step alone."""
    for step in range(STEPS):
        if not accumulate:
            model.zero_grad()
        waits = accumulate and step + 1 < STEPS
        wrapped = isinstance(model, DistributedDataParallel)
        with model.no_sync() if wrapped and waits else nullcontext():
            model(batch(step)[rows]).mean().backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


def main(rank: int, world: int, folder: Path) -> None:
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'store'}",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=60),
    )
    share = BATCH // world
    rows = slice(rank * share, (rank + 1) * share)
    found: dict[str, list[Tensor]] = {}
    for name, options in WRAPS.items():
        for accumulate in (False, True):
            if accumulate and "static_graph" in options:
                continue  # PyTorch refuses a first step without synchronisation
            model = DistributedDataParallel(Network(unused=name == "unused"), **options)
            key = f"{name} accumulated" if accumulate else name
            found[key] = gradients(model, rows, accumulate=accumulate)
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
