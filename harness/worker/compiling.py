"""How often torch's compilers have been at work in this process."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

# Groups of torch._dynamo.utils.counters that change when something is traced, compiled or tuned.
_GROUPS = ("frames", "stats", "aot_autograd", "inductor")


def compiles(modules: Mapping[str, Any] = sys.modules) -> int:
    """Return a number that rises with every compilation, recompilation and autotuning of torch's.

    Its differences count events of the compilers, not graphs. Zero where TorchDynamo was never
    imported: then nothing was compiled. A kernel that compiles itself, outside of torch.compile, is
    seen only in the time of its first call.
    """
    dynamo = modules.get("torch._dynamo.utils")
    counters: Mapping[str, Mapping[str, int]] = getattr(dynamo, "counters", {})
    return sum(sum(counters[group].values()) for group in _GROUPS if group in counters)
