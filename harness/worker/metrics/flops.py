"""FLOPs and bytes of one step on paper, as PyTorch counts them, and the device's peak rates."""

from __future__ import annotations

from typing import Any

import torch

from harness.schema import Measurement, Unit
from harness.worker import flop_counting, peaks
from harness.worker.metric import Bench, Findings, Metric
from harness.worker.workload import Workload

# By phase: FLOPs for each weight of a matrix and token, and for each head dimension and query-key
# pair. Others count causal pairs as N^2 (nanoGPT's 12 L H Q T) or N^2 / 2 (torchtitan's 6 L H Q T).
MODEL = {
    "forward": "2 x matrix weights x tokens + 4 x head dimension x pairs x heads x layers",
    "prefill": "as forward, the output projection for the last token only",
    "decode": "2 x matrix weights + 4 x head dimension x length x heads x layers, for one token",
    "train_step": "6 x matrix weights x tokens + 12 x head dimension x pairs x heads x layers",
}
PAIRS = "a multiply-add is two; pairs of exact attention: N (N + 1) / 2 if causal, else N^2"
EXECUTED = (
    "the same for the pairs that this impl computes, with masks, chunks, hashing, recomputation"
)
STATE = "tensors that the cache holds after the prompt, room for more tokens included"
COUNTER = "FlopCounterMode over one step, outside of any timed pass"
COMPULSORY = (
    "analytic; every product reads its weights and activations once and writes its result once, "
    "attention reads q, k, v and writes its output"
)
OPERANDS = "operands and results of the products that ran, each once; pointwise work fused"
# Passes over the parameters: read forward; read backward, write gradients; then AdamW reads
# parameter, gradient and two moments and writes all but the gradient.
FORWARD_PASSES, TRAINING_PASSES = 1, 1 + 2 + 7
# A backward product reads what its forward read, and the gradient of what it wrote, and writes the
# gradient of what it read: twice the forward's traffic, as with q, k, v, o, do, dq, dk, dv.
TRAINING = 3


def collect(bench: Bench) -> Findings:
    """Return the totals of the cell's phase.

    `flops_model` is equal for all contenders of equal size that solve the same problem;
    `flops_executed` counts masks, chunks, hash rounds and recomputation; `flops_counted` is what
    PyTorch's counter saw of a step, to hold the second against, or a fact says why it cannot.
    `bytes_compulsory` is the least that a step must move, `bytes_operands` what its products moved.
    `state_bytes` is what decoding one more token would have to keep.
    """
    work = bench.fresh()
    cost, training = work.cost, work.cell.phase == "train_step"
    counted = flop_counting.count(work.step)
    found = [
        _total(
            "flops_model",
            cost.train_model_flops if training else cost.model_flops,
            f"analytic: {MODEL.get(work.cell.phase, MODEL['forward'])}; {PAIRS}",
        ),
        _executed(work, counted.flops),
        _total("bytes_compulsory", compulsory_bytes(work), COMPULSORY, "byte"),
    ]
    if work.state_bytes is not None:
        found.append(_total("state_bytes", work.state_bytes(), STATE, "byte"))
    if counted.flops is not None:
        found.append(_total("flops_counted", counted.flops, COUNTER))
    if counted.operand_bytes is not None:
        found.append(_total("bytes_operands", counted.operand_bytes, OPERANDS, "byte"))
    facts: dict[str, Any] = {"parameters": work.parameters, "state_bytes": cost.state_bytes}
    if counted.reason is not None:
        facts["flops_counted"] = counted.reason
    facts["peaks"] = dict(peaks.peaks(work.cell, bench.clock, bench.cuda))
    return Findings(measurements=tuple(found), facts=facts)


def compulsory_bytes(work: Workload) -> int:
    """Return the least traffic of one step between memory and processor, whatever the impl."""
    cost, itemsize = work.cost, getattr(torch, work.cell.dtype).itemsize
    activations = cost.attention_bytes + cost.product_elements * itemsize
    weights = work.parameters * itemsize
    if work.cell.phase == "decode":  # every weight and all of the state are read for one token
        return weights + (work.state_bytes() if work.state_bytes is not None else 0)
    if work.cell.phase in {"forward", "prefill"}:
        return activations + FORWARD_PASSES * weights
    return TRAINING * activations + TRAINING_PASSES * weights


def _executed(work: Workload, counted: int | None) -> Measurement:
    """Return the executed FLOPs: on paper, or where a state is built or read, as they are counted.

    Where the counter has gaps there, exact attention's are taken, which is said.
    """
    cost = work.cost
    if work.cell.phase == "train_step":
        flops, how = cost.train_executed_flops, f"analytic: {EXECUTED}; a multiply-add is two"
    elif work.cell.phase == "forward":
        flops, how = cost.executed_flops, f"analytic: {EXECUTED}; a multiply-add is two"
    elif counted is not None:
        flops, how = counted, COUNTER
    else:
        flops, how = cost.model_flops, "those of the problem: PyTorch's counter has gaps here"
    return _total("flops_executed", flops, how)


def _total(name: str, value: int, method: str, unit: Unit = "flop") -> Measurement:
    return Measurement(metric=name, unit=unit, better="lower", samples=(value,), method=method)


METRIC = Metric(collect=collect, headline="flops_executed")
