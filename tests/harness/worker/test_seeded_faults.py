"""Faults that a task can see: training with each stays below the floor that LSH itself passes.

The task is small and the seeds are fixed. Three other faults leave it above 0.999, which is why
they are caught by equality with dense references in tests/models/variants/test_lsh.py: rounds that
are averaged, keys that are not normalised, and keys that are counted once a round.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.schema import Cell, Job, Protocol
from harness.worker import assessment, task
from harness.worker.course import Plan
from models.kernels import lsh_chunked

OPTIONS = {"chunk": 4, "hashes": 2, "redraw": True, "positions": "learned"}
CELL = Cell(
    contender="lsh", model="transformer", attention="lsh", impl="chunked", options=OPTIONS,
    phase="train_step", seq_len=32, batch=16, d_model=32, heads=2, d_ff=64, layers=1, vocab=16,
    causal=True, dtype="float32", device="cpu", threads=1, data="stdlib", seed=0, task="copy",
)  # fmt: skip
PLAN = Plan(batch=16, steps=150, rate=5e-3, seed=0, warmup=100, eval_every=50, examples=64)


def learnt(**changes) -> float:
    job = Job(cell=replace(CELL, **changes), metrics=("quality",), protocol=Protocol())
    return assessment.train(job, PLAN, clock=lambda: 0)["test"]["score"]


def no_fault(_monkeypatch: pytest.MonkeyPatch) -> float:
    return learnt()


def random_buckets(_monkeypatch: pytest.MonkeyPatch) -> float:
    return learnt(attention="random_buckets")


def outputs_not_unsorted(monkeypatch: pytest.MonkeyPatch) -> float:
    attend = lsh_chunked.attend_with

    def left_in_order(bodies, q, v, plan, *more, **how):
        out = attend(bodies, q, v, plan, *more, **how)
        order = plan.order[:, :, 0].long().unsqueeze(-1)  # that of the first round
        return out.gather(2, order.expand_as(out))

    monkeypatch.setattr(lsh_chunked, "attend_with", left_in_order)
    return learnt()


def no_look_back(_monkeypatch: pytest.MonkeyPatch) -> float:
    return learnt(options={**OPTIONS, "before": 0})


@pytest.mark.parametrize(
    ("fault", "passes"),
    [
        (no_fault, True),
        (random_buckets, False),
        (outputs_not_unsorted, False),
        (no_look_back, False),
    ],
)
def test_a_fault_that_accuracy_can_see_stays_below_the_floor(
    fault: Callable[[pytest.MonkeyPatch], float], passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (fault(monkeypatch) >= task.load("copy").floor) == passes
