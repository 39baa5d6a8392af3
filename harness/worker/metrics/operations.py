"""Operations: how many ATen operators one step dispatches, and which."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from harness.schema import Measurement
from harness.worker.metric import Bench, Findings, Metric

METHOD = "ATen operators that reach the dispatcher in the second step of a fresh workload"


def collect(bench: Bench) -> Findings:
    """Return `operations`, the number of operators, and how often each of them ran.

    The second step is counted: the first of a training step also makes the optimizer's state. The
    count follows from the code and the release of torch, not from the machine: views and
    allocations are in it, what a kernel does inside is not.
    """
    work = bench.fresh()
    work.step()
    tally = _Tally()
    with tally:
        work.step()
    return Findings(
        measurements=(
            Measurement(
                metric="operations",
                unit="1",
                better="lower",
                samples=(tally.seen.total(),),
                method=METHOD,
            ),
        ),
        facts={**work.facts, "operations_by_name": dict(sorted(tally.seen.items()))},
    )


class _Tally(TorchDispatchMode):
    """Counts operators by name and lets them pass."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Count one operator and run it."""
        if isinstance(func, torch._ops.OpOverload):
            self.seen[str(func)] += 1
        return func(*args, **(kwargs or {}))


METRIC = Metric(collect=collect, headline="operations")
