"""FLOPs of one step on paper: of the problem, and of the mechanism as this impl computes it."""

from __future__ import annotations

from harness.schema import Measurement
from harness.worker.metric import Bench, Findings, Metric

_METHOD = "analytic; a multiply-add is two FLOPs, softmax and sort none"


def collect(bench: Bench) -> Findings:
    """Return both totals of the cell's phase.

    `flops_model` is equal for all contenders of equal size that solve the same problem;
    `flops_executed` counts masks, chunks, hash rounds and recomputation. `state_bytes` is what
    decoding one more token would have to keep.
    """
    work = bench.fresh()
    cost, training = work.cost, work.cell.phase == "train_step"
    totals = {
        "flops_model": cost.train_model_flops if training else cost.model_flops,
        "flops_executed": cost.train_executed_flops if training else cost.executed_flops,
    }
    return Findings(
        measurements=tuple(
            Measurement(metric=name, unit="flop", better="lower", samples=(total,), method=_METHOD)
            for name, total in totals.items()
        ),
        facts={"parameters": work.parameters, "state_bytes": cost.state_bytes},
    )


METRIC = Metric(collect=collect, headline="flops_executed")
