"""Quality: the score of a task that a contender reaches when it is trained, seed by seed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from harness.codec import encode
from harness.schema import Better, Evaluation, Job, Measurement, Training, Unit
from harness.worker import assessment, fleet, task
from harness.worker.blueprint import draw
from harness.worker.course import Plan
from harness.worker.failure import DivergedError
from harness.worker.metric import Bench, Findings, Metric
from harness.worker.task import Task
from models.variant import Unsupported

Record = Mapping[str, Any]  # of one training, see `assessment.train`
PER_TRAINING = "one sample a seed"


def collect(bench: Bench) -> Findings:
    """Train every learning rate with every seed; report the rate that is best by validation.

    * `quality`: the task's score on the test examples; `quality_<figure>` its other figures;
    * `quality_hashes_8`, `quality_dense`, `quality_plain`: the hash ladder, the same weights;
    * `quality_length_256`: the same weights at another length;
    * `time_to_score`, `steps_to_score`: until validation reached the target, of seeds that did;
    * `train_time`, `train_steps`: of the steps alone, evaluations left out;
    * `coverage`: keys that a query weighs, over those that exact attention does;
    * `error_trained`, `recall_trained`: `error` and `attention_recall` of trained weights.

    Raises:
        Unsupported: the cell has no task.
        DivergedError: every training of every learning rate ended in a loss that is no number.
    """
    job = bench.job
    if job.cell.task is None:
        raise Unsupported("quality: the cell has no task to be trained on")
    learnt = task.load(job.cell.task)
    training = job.training or Training()
    plans = plan(job, learnt, training)
    works = [partial(_work, bench, each) for each in plans]
    records: list[Record] = fleet.run(works, _at_once(job, training, len(works)))
    rate, chosen = best(records, learnt)
    told = _facts(job, learnt, training, plans, records)
    return Findings(
        measurements=tuple(_measured(learnt, chosen, job.cell.device)),
        facts={**told, "learning_rate": rate, **_courses(learnt, chosen)},
    )


def plan(job: Job, learnt: Task, training: Training) -> list[Plan]:
    """Return a plan for each rate and seed; the task fills in what the suite left out."""
    own, cell = learnt.training, job.cell
    rates = training.learning_rates or tuple(own["learning_rates"])
    return [
        Plan(
            batch=cell.batch,
            steps=training.steps or own["steps"],
            rate=rate,
            seed=cell.seed + number,
            warmup=training.warmup,
            eval_every=training.eval_every or own["eval_every"],
            examples=training.examples,
            seconds=training.seconds,
            weight_decay=training.weight_decay,
            stop_at=learnt.stop if training.stop_at is None else training.stop_at,
            dense_until=training.dense_until,
            dtype=getattr(torch, cell.dtype),
        )
        for rate in rates
        for number in range(training.seeds)
    ]


def best(records: Sequence[Record], learnt: Task) -> tuple[float, list[Record]]:
    """Return the rate whose mean score on validation is best, and its trainings that ended well.

    A rate at which fewer seeds diverged goes before one at which more did.

    Raises:
        DivergedError: all did.
    """
    groups: dict[float, list[Record]] = {}
    for record in records:
        groups.setdefault(record["rate"], []).append(record)
    sign = 1 if learnt.better == "higher" else -1

    def rank(rate: float) -> tuple[int, float]:
        scores = [r["validation"] for r in groups[rate] if r["diverged"] is None]
        return len(scores), sign * sum(scores) / len(scores) if scores else 0.0

    rate = max(groups, key=rank)
    chosen = [record for record in groups[rate] if record["diverged"] is None]
    if not chosen:
        raise DivergedError(str(records[0]["diverged"]))
    return rate, chosen


def _work(bench: Bench, each: Plan) -> dict[str, Any]:
    job = bench.job
    clock = bench.clock.wall_ns if job.cell.device == "cuda" else bench.clock.cpu_ns
    folder = None if job.artifacts is None else Path(job.artifacts)
    return assessment.train(job, each, clock=clock, tell=bench.tell, folder=folder)


def _at_once(job: Job, training: Training, works: int) -> int:
    """Return how many trainings run side by side: one core each; a GPU has one at a time.

    A process whose operators have threads cannot be forked safely: such a cell trains one by one.
    """
    if job.cell.device == "cuda" or job.cell.threads > 1:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return min(works, training.processes or cores)


def _measured(learnt: Task, chosen: Sequence[Record], device: str) -> list[Measurement]:
    """Return the measurements of the chosen trainings; what some lack is told of the rest."""
    scored = f"{learnt.score} on test examples, {PER_TRAINING}"
    found = [_of("quality", [r["test"]["score"] for r in chosen], scored, learnt.better)]
    others = [name for name in chosen[0]["test"] if name != "score"]
    for name in others:
        values = [r["test"][name] for r in chosen]
        found.append(_of(f"quality_{name}", values, scored, learnt.better))
    for name in chosen[0]["ladder"]:
        values = [r["ladder"][name] for r in chosen]
        found.append(_of(f"quality_{name}", values, f"{scored}, same weights", learnt.better))
    clock = "wall time" if device == "cuda" else "process CPU time"
    units: dict[str, Unit] = {"time_to_score": "ns", "steps_to_score": "1"}
    for name, unit in units.items():
        values = [r[name] for r in chosen if r[name] is not None]
        what = f"{clock if unit == 'ns' else 'steps'} until validation reached the target"
        found.append(_of(name, values, f"{what}, seeds that did", "lower", unit))
    times = [r["course"]["spent_ns"] for r in chosen]
    found.append(_of("train_time", times, f"{clock} of the steps, {PER_TRAINING}", "lower", "ns"))
    steps = [r["course"]["step"] for r in chosen]
    found.append(_of("train_steps", steps, f"steps, {PER_TRAINING}", "lower"))
    sight: dict[str, Better] = {
        "coverage": "higher",
        "recall_trained": "higher",
        "error_trained": "lower",
    }
    for name, better in sight.items():
        values = [r["inside"][name] for r in chosen if name in r["inside"]]
        what = f"mean over layers on test examples, {PER_TRAINING}"
        found.append(_of(name, values, what, better))
    return [measurement for measurement in found if measurement.samples]


def _of(
    name: str, values: Sequence[float], method: str, better: Better, unit: Unit = "1"
) -> Measurement:
    return Measurement(
        metric=name, unit=unit, better=better, samples=tuple(values), stop="seeds", method=method
    )


def _facts(
    job: Job, learnt: Task, training: Training, plans: Sequence[Plan], records: Sequence[Record]
) -> dict[str, Any]:
    """Return what a reader needs to judge the scores by."""
    evaluation = job.evaluation or Evaluation()
    parts = draw(job.cell, job.plugins)
    first = {name: value for name, value in encode(plans[0]).items() if name != "dtype"}
    rates: dict[str, list[float | None]] = {}
    for record in records:
        value = None if record["diverged"] else record["validation"]
        rates.setdefault(f"{record['rate']:g}", []).append(value)
    return {
        "attention": parts.attention,
        "impl": parts.impl,
        "exact": parts.variant.exact,
        "parameters": records[0]["parameters"],
        "score": learnt.score,
        "score_better": learnt.better,
        "score_floor": learnt.floor,
        "score_target": learnt.floor if training.target is None else training.target,
        "score_baselines": dict(learnt.baselines(task.setting(job.cell, job.data_path))),
        "training": {**first, "precision": job.cell.dtype, "seeds": training.seeds},
        "evaluation": encode(evaluation),
        "validation_by_rate": rates,
        "diverged": [record["diverged"] for record in records if record["diverged"]],
    }


def _courses(learnt: Task, chosen: Sequence[Record]) -> dict[str, Any]:
    """Return how the chosen trainings went; a point is step, time in ns, loss, validation score."""
    return {
        "seeds_trained": [r["seed"] for r in chosen],
        "above_floor": [learnt.reached(r["test"]["score"], learnt.floor) for r in chosen],
        "training_ended_by": [r["course"]["stop"] for r in chosen],
        "dense_steps": [r["course"]["dense_steps"] for r in chosen],
        "resumed_at": [r["course"]["resumed_at"] for r in chosen],
        "curves": [r["curve"] for r in chosen],
    }


METRIC = Metric(collect=collect, headline="quality")
