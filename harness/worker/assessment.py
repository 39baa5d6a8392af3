"""One training from seeded weights to its record: course, test figures, ladder, other lengths."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.codec import canonical, encode
from harness.schema import Evaluation, Job, Training
from harness.worker import draws, ladder, sources, task
from harness.worker.blueprint import draw
from harness.worker.checkpoint import Checkpoint
from harness.worker.course import Plan
from harness.worker.device import open_device, seed
from harness.worker.failure import DivergedError
from harness.worker.listening import (
    counterpart,
    coverage,
    listen,
    recall,
    spread_rows,
    weights,
)
from harness.worker.proof import relative_errors
from harness.worker.shell import Shell
from harness.worker.task import Batch, examples
from harness.worker.training import TOGETHER, Trainer, evaluate
from models.variant import Unsupported

MOST_POINTS = 60  # of a curve in the record
LOOKED_AT = 4  # test examples whose attention is looked into


def train(
    job: Job,
    plan: Plan,
    *,
    clock: Callable[[], int],
    tell: Callable[[str], None] = lambda _: None,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Train one network and return all there is to say of it, of JSON's types.

    Args:
        job: a cell with a task.
        plan: how to train.
        clock: what the time of steps is read from, in ns.
        tell: hears how far it is.
        folder: where checkpoints are kept; a training that was killed goes on from there.
    """
    cell, evaluation = job.cell, job.evaluation or Evaluation()
    learnt = task.load(str(cell.task))
    device = open_device(cell)
    parts = draw(cell, job.plugins, longest=max(evaluation.seq_len, default=0))
    network = draws.seeded(parts.network, plan.seed)
    assert isinstance(network, Shell)
    network.to(device)
    seed(plan.seed)
    source = learnt.make(task.setting(cell, job.data_path))
    trainer = Trainer(
        network, learnt, source, plan, clock=clock, tell=tell, checkpoint=_kept(job, plan, folder)
    )
    record: dict[str, Any] = {
        "rate": plan.rate,
        "seed": plan.seed,
        "diverged": None,
        "parameters": sum(p.numel() for p in network.parameters()),
    }
    try:
        course = trainer.run()
    except DivergedError as error:
        return record | {"diverged": str(error)}
    test = examples(source, "test", plan.seed, plan.examples, TOGETHER)
    training = job.training or Training()
    hit = course.reached(learnt, learnt.floor if training.target is None else training.target)
    return record | {
        "validation": course.last,
        "test": trainer.score(test),
        "ladder": _ladder(trainer, test, evaluation) | _lengths(trainer, job, evaluation),
        "inside": inside(network, test, cell.seq_len, plan.seed),
        "time_to_score": None if hit is None else hit.spent_ns,
        "steps_to_score": None if hit is None else hit.step,
        "curve": _thinned([[p.step, p.spent_ns, p.loss, p.score] for p in course.points]),
        "course": {
            "step": course.step,
            "spent_ns": course.spent_ns,
            "stop": course.stop,
            "dense_steps": course.dense_steps,
            "resumed_at": course.resumed_at,
        },
    }


def inside(network: Shell, batches: Sequence[Batch], seq_len: int, seed: int) -> dict[str, float]:
    """Return what trained attention sees: coverage, recall and error against exact attention.

    Empty where no exact counterpart of the mechanism is known, or its layers cannot be heard.
    """
    tokens = batches[0].tokens[:LOOKED_AT].to(next(network.parameters()).device)
    rows = spread_rows(seq_len, seed).to(tokens.device)
    found: dict[str, list[float]] = {"coverage": [], "recall_trained": [], "error_trained": []}
    before = network.training
    network.eval()
    try:
        with torch.no_grad():
            for heard in listen(network, lambda: network(tokens)):
                exact = counterpart(heard.attention, heard.q.shape[2], heard.q.shape[-1])
                q, k, v = heard.q.double(), heard.k.double(), heard.v.double()
                mine = weights(heard.attention, q, k, rows)
                full = weights(exact(torch.float64), q, k, rows)
                found["coverage"].append(coverage(mine, full))
                found["recall_trained"].append(recall(mine, full))
                wanted = exact(torch.float64).rows(q, k, v, rows)
                found["error_trained"].append(_error(heard.output[:, :, rows], wanted))
    except Unsupported:
        return {}
    finally:
        network.train(before)
    return {name: sum(values) / len(values) for name, values in found.items() if values}


def _error(got: Tensor, wanted: Tensor) -> float:
    return relative_errors({"values": got}, {"values": wanted})["values"]


def _ladder(trainer: Trainer, test: Sequence[Batch], evaluation: Evaluation) -> dict[str, float]:
    """Return the score of each rung; none for a network without shared queries and keys."""
    network, found = trainer.network, dict[str, float]()
    if not ladder.sites(network):
        return found
    for rung in evaluation.hashes:
        name = f"hashes_{rung}" if isinstance(rung, int) else str(rung)
        with ladder.climbed(network, rung, evaluation.chunk):
            found[name] = trainer.score(test)["score"]
    return found


def _lengths(trainer: Trainer, job: Job, evaluation: Evaluation) -> dict[str, float]:
    """Return the score at other lengths; positions beyond the cell's own were never trained."""
    plan, learnt, found = trainer.plan, trainer.task, dict[str, float]()
    for length in evaluation.seq_len:
        source = learnt.make(task.setting(job.cell, job.data_path, length))
        test = examples(source, "test", plan.seed, plan.examples, TOGETHER)
        scored = evaluate(trainer.network, learnt, test, trainer.precision())
        found[f"length_{length}"] = scored["score"]
    return found


def _kept(job: Job, plan: Plan, folder: Path | None) -> Checkpoint:
    """Return where the state is kept: one file a training, of this code, cell and plan alone."""
    told = [encode(job.cell), repr(plan), encode(job.evaluation), sources.of_models()]
    fingerprint = hashlib.sha256(canonical(told).encode()).hexdigest()[:16]
    name = f"seed-{plan.seed}-rate-{plan.rate:g}.pt"
    return Checkpoint(path=None if folder is None else folder / name, fingerprint=fingerprint)


def _thinned(points: list[list[float]]) -> list[list[float]]:
    """Return at most so many points, the last among them."""
    stride = -(-len(points) // MOST_POINTS)
    return points[::-1][::stride][::-1]
