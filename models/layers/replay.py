"""Runs a module a second time exactly as the first: random draws, decisions, precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch

T = TypeVar("T")


class Replay:
    """What one run of a module drew and decided.

    Memory-saving layers throw activations away and compute them again in the backward. The second
    run sees inputs that differ by rounding, so whatever jumps (hash buckets, dropout masks) must
    be repeated and not computed anew, or its gradients belong to another function.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._decisions: list[Any] = []
        self._next: int | None = None  # None while recording
        self._precision = (
            torch.is_autocast_enabled(device.type),
            torch.get_autocast_dtype(device.type),
        )
        self._random = torch.get_rng_state()
        cuda = device.type == "cuda"
        self._random_cuda = torch.cuda.get_rng_state(device) if cuda else None

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Keep the decisions of the module that runs inside."""
        token = _active.set(self)
        try:
            yield
        finally:
            _active.reset(token)

    @contextmanager
    def repeating(self) -> Iterator[None]:
        """Hand the recorded draws and decisions to the module; the global state is restored."""
        self._next = 0
        token = _active.set(self)
        enabled, dtype = self._precision
        devices = [] if self._random_cuda is None else [self._device]
        try:
            # Without autocast's cache of cast weights: inside an autocast of the caller's it would
            # outlive this run, and hold all layers' weights at the end of the backward.
            with (
                torch.random.fork_rng(devices=devices),
                torch.autocast(
                    self._device.type, dtype=dtype, enabled=enabled, cache_enabled=False
                ),
            ):
                torch.set_rng_state(self._random)
                if self._random_cuda is not None:
                    torch.cuda.set_rng_state(self._random_cuda, self._device)
                yield
        finally:
            _active.reset(token)

    def decide(self, compute: Callable[[], T]) -> T:
        """Return the decision of the first run, or compute and keep it if this is that run."""
        if self._next is None:
            self._decisions.append(compute())
            return self._decisions[-1]
        self._next += 1
        return self._decisions[self._next - 1]


_active: ContextVar[Replay | None] = ContextVar("replay", default=None)


def decide(compute: Callable[[], T]) -> T:
    """Return `compute()`, or in a repeated run what it returned in the first.

    A mechanism calls it for results that have no gradient and change in jumps: an `LSHPlan`.
    """
    replay = _active.get()
    return compute() if replay is None else replay.decide(compute)
