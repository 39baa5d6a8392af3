"""What is measured: a network with seeded weights, a batch of real text and one step over it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.codec import canonical, encode
from harness.schema import Cell, Environment, Job
from harness.worker import blueprint, corpus, decoding, draws, environment, sources, task
from harness.worker.blueprint import Blueprint, check
from harness.worker.device import open_device, seed
from harness.worker.task import Batch
from models.model import ModelCost
from models.variant import Variant

__all__ = ["Subject", "Workload", "build", "check", "describe", "preload"]

LEARNING_RATE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A network, its input and the step that instruments repeat."""

    cell: Cell
    model: nn.Module
    tokens: Tensor  # [batch, time], int64
    targets: Tensor  # [batch, time], int64: the token after each
    step: Callable[[], Tensor]  # does one step of the phase; returns logits or the loss
    cost: ModelCost
    state_bytes: Callable[[], int] | None = None  # what the step's cache holds; None: it has none
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def parameters(self) -> int:
        """Trainable numbers of the network."""
        return sum(p.numel() for p in self.model.parameters())


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A cell as resolved on this machine, before anything is built."""

    environment: Environment
    facts: Mapping[str, Any]  # what `auto` became
    variant: Variant
    options: Any  # of the variant
    impl: str


def preload() -> None:
    """Do in a fork server what every cell would do; touches no device, starts no thread."""
    blueprint.preload()
    environment.preload()
    sources.of_models()


def describe(job: Job) -> Subject:
    """Open the device and resolve what the job names.

    Raises:
        ValueError: bad input.
        Unsupported: no such device here, or the mechanism cannot run this cell.
    """
    open_device(job.cell)
    plan = blueprint.draw(job.cell, job.plugins)
    return Subject(
        environment=environment.environment(job.cell, _digest(job)),
        facts=_facts(plan),
        variant=plan.variant,
        options=plan.variant_options,
        impl=plan.impl,
    )


def build(job: Job) -> Workload:
    """Make a fresh workload: the same job gives the same weights and the same text every time.

    Weights are drawn in float32 on the CPU and cast, so that they agree between devices and
    dtypes, and by name, so that they agree between contenders. After the build the global
    generators hold the cell's seed.

    Raises:
        ValueError: bad input.
        Unsupported: the cell cannot run here.
    """
    cell = job.cell
    device = open_device(cell)
    plan = blueprint.draw(cell, job.plugins)
    batch = _batch(job).to(device)
    model = draws.seeded(plan.network, cell.seed)
    model.to(device, getattr(torch, cell.dtype))
    seed(cell.seed)
    state_bytes = None
    if cell.phase in decoding.PHASES:
        decoder = decoding.Decoder(model, batch.tokens)
        step = decoder.prefill if cell.phase == "prefill" else decoder.decode
        state_bytes = decoder.state_bytes
    else:
        step = (_forward if cell.phase == "forward" else _train_step)(model, batch)
    return Workload(
        cell=cell,
        model=model,
        tokens=batch.tokens,
        targets=batch.targets,
        step=step,
        cost=plan.cost(),
        state_bytes=state_bytes,
        facts=_facts(plan),
    )


def _batch(job: Job) -> Batch:
    """Return what a step reads: text and the byte after each, or the first examples of a task."""
    cell = job.cell
    if cell.task is not None:
        source = task.load(cell.task).make(task.setting(cell, job.data_path))
        return source.draw("train", cell.batch, task.stream("train", cell.seed))
    text = corpus.batch(corpus.load(job.data_path), cell.batch, cell.seq_len, cell.seed)
    return Batch(tokens=text[:, :-1].contiguous(), targets=text[:, 1:].contiguous())


def _digest(job: Job) -> str:
    """Return the fingerprint of what the cell is fed: a text, or examples and how to train."""
    if job.cell.task is None:
        return corpus.load(job.data_path).digest
    batch = _batch(job)
    told = hashlib.sha256(canonical(encode(job.training)).encode())
    for tensor in (batch.tokens, batch.targets):
        told.update(tensor.numpy().tobytes())
    return told.hexdigest()[:16]


def _facts(plan: Blueprint) -> dict[str, Any]:
    return {
        "attention": plan.attention,
        "impl": plan.impl,
        "exact": plan.variant.exact,
        "source": plan.source,
        "models_source": sources.of_models(),
    }


def _forward(model: nn.Module, batch: Batch) -> Callable[[], Tensor]:
    """Return a step that computes the logits of the whole sequence."""
    model.eval()

    def step() -> Tensor:
        with torch.no_grad():
            return model(*batch.inputs)

    return step


def _train_step(model: nn.Module, batch: Batch) -> Callable[[], Tensor]:
    """Return a step that learns what the batch asks: forward, loss, backward, AdamW.

    Gradients are dropped at the step's end: each step, also of a loop, begins without any and
    pays for all of its own.
    """
    model.train()
    # 1e-8 rounds to zero in float16, and an embedding row that no token uses would become 0 / 0.
    eps = 1e-4 if next(model.parameters()).dtype is torch.float16 else 1e-8
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, eps=eps)

    def step() -> Tensor:
        logits = model(*batch.inputs)
        loss = functional.cross_entropy(logits.flatten(0, -2), batch.targets.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step
