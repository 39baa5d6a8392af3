"""Trains a network on a task: the same examples, order, schedule and budget for every contender."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from harness.worker import ladder, optimising, shell
from harness.worker.checkpoint import Checkpoint
from harness.worker.course import Course, Plan, Point
from harness.worker.failure import DivergedError
from harness.worker.task import Batch, Source, Task, examples, stream

TOGETHER = 64  # examples that are evaluated at a time, at most
SAVE_EVERY_S = 20.0  # wall time between two checkpoints


class Trainer:
    """One network, one learning rate, one seed."""

    def __init__(
        self,
        network: shell.Shell,
        task: Task,
        source: Source,
        plan: Plan,
        *,
        clock: Callable[[], int],
        tell: Callable[[str], None] = lambda _: None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.network = network
        self.task = task
        self.source = source
        self.plan = plan
        self.device = next(network.parameters()).device
        self.course = Course()
        self.validation = examples(source, "validation", plan.seed, plan.examples, TOGETHER)
        self._clock = clock
        self._tell = tell
        self._checkpoint = checkpoint or Checkpoint(path=None, fingerprint="")
        self._optimizer = optimising.optimizer(network.parameters(), plan.weight_decay)
        half = plan.dtype is torch.float16
        self._scaler = torch.amp.GradScaler(self.device.type) if half else None
        self._dense = plan.dense_until is not None and bool(ladder.sites(network))
        self._loss = self._losses = 0.0

    def run(self) -> Course:
        """Train until the steps, the time or the score is reached.

        Raises:
            DivergedError: the loss is no number.
        """
        self._resume()
        begin, first, saved = time.monotonic(), self.course.step, time.monotonic()
        while not self.course.stop:
            self._steps(min(self.plan.eval_every, self.plan.steps - self.course.step))
            self._look()
            self.course.stop = self._ended()
            elapsed = time.monotonic() - begin
            left = elapsed / (self.course.step - first) * (self.plan.steps - self.course.step)
            self._tell(
                f"seed {self.plan.seed}, rate {self.plan.rate:g}, step {self.course.step} of "
                f"{self.plan.steps}, score {self.course.last:.4g}, at most {left:.0f} s left"
            )
            if self.course.stop or time.monotonic() - saved > SAVE_EVERY_S:
                self._save()
                saved = time.monotonic()
        return self.course

    def score(self, batches: Sequence[Batch]) -> dict[str, float]:
        """Return the figures of fixed examples."""
        return evaluate(self.network, self.task, batches, self.precision())

    def precision(self) -> AbstractContextManager[Any]:
        """Return the context in which products are computed in the plan's dtype."""
        if self.plan.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.plan.dtype)

    def _steps(self, count: int) -> None:
        """Take some steps; only they are timed."""
        way = ladder.climbed(self.network, ladder.DENSE) if self._dense else nullcontext()
        total = torch.zeros((), device=self.device)
        self.network.train()
        with way:
            for _ in range(count):
                drawn = stream("train", self.plan.seed, self.course.step)
                batch = self.source.draw("train", self.plan.batch, drawn).to(self.device)
                self._synchronize()
                begin = self._clock()
                total += self._step(batch)
                self._synchronize()
                self.course.spent_ns += self._clock() - begin
                self.course.step += 1
        self.course.dense_steps += count * self._dense
        self._loss = total.item() / count
        if not math.isfinite(self._loss):
            raise DivergedError(self._where("the loss"))

    def _step(self, batch: Batch) -> torch.Tensor:
        plan = self.plan
        with self.precision():
            found = shell.loss(self.network(*batch.inputs), batch)
        (found if self._scaler is None else self._scaler.scale(found)).backward()
        rate = plan.rate * optimising.factor(self.course.step, plan.steps, plan.warmup)
        optimising.update(self.network, self._optimizer, self._scaler, rate)
        return found.detach()

    def _look(self) -> None:
        """Look at the validation examples, with the mechanism that was trained just now."""
        way = ladder.climbed(self.network, ladder.DENSE) if self._dense else nullcontext()
        with way:
            score = self.score(self.validation)["score"]
        if not math.isfinite(score):
            raise DivergedError(self._where("the score"))
        point = Point(
            step=self.course.step, spent_ns=self.course.spent_ns, loss=self._loss, score=score
        )
        self.course.points.append(point)
        level = self.plan.dense_until
        if self._dense and level is not None and self.task.reached(score, level):
            self._dense = False

    def _ended(self) -> str:
        plan, course = self.plan, self.course
        last = course.points[-2:]
        if plan.stop_at is not None and len(last) == 2 and not self._dense:
            own = [p for p in last if p.step > course.dense_steps]  # of its own mechanism
            if len(own) == 2 and all(self.task.reached(p.score, plan.stop_at) for p in own):
                return "score"
        if course.step >= plan.steps:
            return "steps"
        spent = plan.seconds is not None and course.spent_ns >= plan.seconds * 1e9
        return "seconds" if spent else ""

    def _save(self) -> None:
        course = self.course
        state: dict[str, Any] = {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": None if self._scaler is None else self._scaler.state_dict(),
            "random": torch.get_rng_state(),
            "points": [[p.step, p.spent_ns, p.loss, p.score] for p in course.points],
            "course": [course.step, course.spent_ns, course.stop, course.dense_steps],
            "dense": self._dense,
        }
        if self.device.type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state(self.device)
        self._checkpoint.save(state)

    def _resume(self) -> None:
        state = self._checkpoint.load()
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._scaler is not None:
            self._scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"], self.device)
        step, spent_ns, stop, dense_steps = state["course"]
        points = [
            Point(step=step, spent_ns=spent, loss=loss, score=score)
            for step, spent, loss, score in state["points"]
        ]
        self.course = Course(
            points=points,
            step=step,
            spent_ns=spent_ns,
            stop=stop,
            dense_steps=dense_steps,
            resumed_at=step,
        )
        self._dense = state["dense"]

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _where(self, what: str) -> str:
        plan = self.plan
        return (
            f"{what} is not finite at step {self.course.step} of {plan.steps}, "
            f"learning rate {plan.rate:g}, seed {plan.seed}"
        )


def evaluate(
    network: nn.Module,
    task: Task,
    batches: Sequence[Batch],
    precision: AbstractContextManager[Any] | None = None,
) -> dict[str, float]:
    """Return a task's figures of some examples; the network is left in the mode it was in."""
    before = network.training
    network.eval()
    device = next(network.parameters()).device
    sums: dict[str, float] = {}
    with torch.no_grad(), precision or nullcontext():
        for batch in batches:
            there = batch.to(device)
            found: Mapping[str, float] = task.tally(network(*there.inputs), there)
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + value
    network.train(before)
    return task.figures(sums)
