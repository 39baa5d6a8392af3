"""Named spans of a profile, for what the name of an operation cannot tell."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch._C._autograd import _profiler_enabled
from torch.profiler import record_function


def region(name: str) -> AbstractContextManager[object]:
    """Return a context that names what runs inside it, where a profiler listens.

    Hashing is a matrix product and a maximum: by their names a profile would count them to the
    attention or to the projections. Where nobody listens a region costs 0.5 us, against 7 us for
    `record_function` itself; a compiler sees none.
    """
    if torch.compiler.is_compiling() or not _profiler_enabled():
        return nullcontext()
    return record_function(name)
