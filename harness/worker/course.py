"""How one network is to be trained, and how its training went."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from harness.worker.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How one network is trained; everything is decided."""

    batch: int
    steps: int
    rate: float  # the learning rate at the end of its warm-up
    seed: int
    warmup: int
    eval_every: int
    examples: int
    seconds: float | None = None
    weight_decay: float = 0.0
    stop_at: float | None = None
    dense_until: float | None = None
    dtype: torch.dtype = torch.float32  # of products; weights are float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What was known at one look at the validation examples."""

    step: int  # steps done
    spent_ns: int  # on steps alone: evaluations are not counted
    loss: float  # mean since the point before
    score: float


@dataclass(slots=True, kw_only=True)
class Course:
    """How a training went."""

    points: list[Point] = field(default_factory=list[Point])
    step: int = 0
    spent_ns: int = 0
    stop: str = ""  # steps, score, seconds
    dense_steps: int = 0  # of those, with all pairs
    resumed_at: int | None = None  # the step at which it went on after it had been killed

    def reached(self, task: Task, level: float) -> Point | None:
        """Return the first point whose score is at least as good as a level."""
        return next((point for point in self.points if task.reached(point.score, level)), None)

    @property
    def last(self) -> float:
        """The last score."""
        return self.points[-1].score
