"""Random weights that depend on the seed and on what they are for, not on what was drawn before."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Build a network whose parameters agree with those of others wherever name and shape agree.

    A draw that fills a parameter is seeded by the parameter's name, any other by its shape and its
    number among those of that shape. Contenders so share their weights even if one of them has
    fewer projections or draws something of its own.
    """
    with _SeededDraws(seed, _destinations(build)):
        return build()


def _destinations(build: Callable[[], nn.Module]) -> Mapping[int, str]:
    """Return the parameter that each draw of a build fills, by the draw's number.

    Found on the meta device, which has no numbers; empty for a network that cannot be built there.
    """
    draws = _Draws()
    try:
        with torch.device("meta"), draws:
            network = build()
    except (NotImplementedError, RuntimeError):
        return {}
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {k: names[id(x)] for k, x in enumerate(draws.filled) if id(x) in names}


class _Draws(TorchDispatchMode):
    """Remembers what each draw fills; a reference is kept, so that no identity is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.filled: list[Any] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.filled.append(args[0] if args else None)
        return func(*args, **(kwargs or {}))


class _SeededDraws(TorchDispatchMode):
    """Seeds the CPU's generator before each draw."""

    def __init__(self, seed: int, destinations: Mapping[int, str]) -> None:
        super().__init__()
        self._seed = seed
        self._destinations = destinations
        self._drawn = 0
        self._repeats: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            shapes = [tuple(x.shape) if isinstance(x, Tensor) else x for x in args]
            purpose = f"{self._destinations.get(self._drawn)} {func} {shapes}"
            text = f"{self._seed} {self._repeats[purpose]} {purpose}".encode()
            self._drawn += 1
            self._repeats[purpose] += 1
            digest = hashlib.sha256(text).digest()
            torch.default_generator.manual_seed(int.from_bytes(digest[:7], "big"))
        return func(*args, **(kwargs or {}))
