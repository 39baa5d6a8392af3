"""Which kernels a call ran: an impl that promises a kernel must be seen to run it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from harness.schema import Cell
from harness.worker.failure import WrongError
from harness.worker.proof import make_pair
from models.variant import Variant

# By impl, what the name of at least one kernel (or operator, on a CPU) must contain. An impl that
# is not listed promises no particular kernel.
PATTERNS: Mapping[str, str] = {
    "flash": r"flash",
    "sdpa_math": r"attention_math",
    "sdpa_flash": r"flash",
    "sdpa_efficient": r"efficient_attention|fmha|cutlass",
    "sdpa_cudnn": r"cudnn",
    "flash_attn": r"flash",
    "xformers": r"fmha|cutlass|flash",
    "triton": r"lsh_attention_fwd",  # our kernels; not whatever torch.compile makes by Triton
    "flex": r"flex_attention|triton_tem",
}


def identify(cell: Cell, variant: Variant, options: Any, impl: str) -> str | None:
    """Return the kernel that shows that an impl ran what it promises; None: it promises none.

    Raises:
        WrongError: something else ran in its place.
    """
    if impl not in PATTERNS:
        return None
    pair = make_pair(cell, variant, options, impl)
    inputs = pair.draw(torch.Generator().manual_seed(cell.seed))
    with torch.no_grad():
        pair.asked(*inputs)  # compiles, where there is something to compile
        return require(impl, kernel_names(lambda: pair.asked(*inputs)))


def kernel_names(call: Callable[[], object]) -> tuple[str, ...]:
    """Return the names of the operators and kernels that a call runs, each once, in order."""
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities, acc_events=True) as seen:
        call()
        if ProfilerActivity.CUDA in activities:
            torch.cuda.synchronize()
    return tuple(dict.fromkeys(event.name for event in seen.events() or ()))


def require(impl: str, names: Sequence[str]) -> str | None:
    """Return the first name that shows that the impl ran what it promises; None: no promise.

    Raises:
        WrongError: no name fits, so something else ran in its place.
    """
    pattern = PATTERNS.get(impl)
    if pattern is None:
        return None
    for name in names:
        if re.search(pattern, name, re.IGNORECASE):
            return name
    seen = ", ".join(names[:5]) or "no kernel at all"
    raise WrongError(f"{impl}: no kernel named like /{pattern}/ ran, but {seen}")
