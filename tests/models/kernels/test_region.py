import contextlib

import torch
from torch.profiler import profile

from models.kernels.region import region


def test_a_region_is_a_span_where_a_profiler_listens() -> None:
    with profile() as found, region("here"):
        torch.ones(3).sum()
    assert "here" in {event.name for event in found.events() or ()}


def test_a_region_is_nothing_where_nobody_listens() -> None:
    assert isinstance(region("here"), contextlib.nullcontext)
