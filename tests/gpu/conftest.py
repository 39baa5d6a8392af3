"""What only a CUDA device can confirm: collected everywhere, skipped with a reason without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.schema import Cell, Job, Protocol

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder; skip it where there is no device."""
    missing = not torch.cuda.is_available()
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("gpu")
            if missing:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def job() -> Callable[..., Job]:
    """Make a job of a small Transformer on the device, with fields replaced."""

    def make(*, metrics: tuple[str, ...] = (), **changes: Any) -> Job:
        fields: dict[str, Any] = {
            "contender": "transformer",
            "model": "transformer",
            "attention": "full",
            "impl": "sdpa",
            "phase": "forward",
            "seq_len": 1024,
            "batch": 1,
            "d_model": 256,
            "heads": 4,
            "d_ff": 1024,
            "layers": 2,
            "vocab": 256,
            "causal": True,
            "dtype": "bfloat16",
            "device": "cuda",
            "threads": 1,
            "data": "stdlib",
            "seed": 0,
        }
        protocol = Protocol(min_samples=5, min_time_s=0.1, max_time_s=2.0, timeout_s=120.0)
        return Job(cell=Cell(**fields | changes), metrics=metrics, protocol=protocol)

    return make
