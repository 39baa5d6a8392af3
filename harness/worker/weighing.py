"""What instruments of memory share: the warm-up, the steps, and where in them memory ran out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from torch import nn

from harness.schema import Cell, Measurement
from harness.worker import accounts
from harness.worker.accounts import Books
from harness.worker.metric import Bench
from harness.worker.parts import followed
from harness.worker.workload import Workload
from models.variant import Unsupported

TIMELINE = "memory_timeline.json"  # among the artifacts
SHORT_LENGTHS = (128, 256, 512, 1024, 2048)  # of the warm-up: the first that the contender takes


def steps(cell: Cell) -> int:
    """Return how many steps are weighed.

    A training step runs twice: the optimizer's state is made at the end of the first and lies
    beside the activations of every later one.
    """
    return 2 if cell.phase == "train_step" else 1


def run(work: Workload) -> None:
    """Take the steps that are weighed."""
    with located(work.model):
        for _ in range(steps(work.cell)):
            work.step()


def warm_up(bench: Bench) -> int | None:
    """Run the contender at the first short length that it takes; return it, or None.

    It pays for code pages, thread pools, workspaces and caches of libraries. A cell as short as
    these lengths is run at its own: what it leaves behind is small and trimmed, while code pages
    that nobody has touched yet would be billed to it by the ten MiB.
    """
    cell = bench.job.cell
    shorter = [seq_len for seq_len in SHORT_LENGTHS if seq_len < cell.seq_len]
    for seq_len in shorter or [cell.seq_len]:
        short: Cell = replace(cell, seq_len=seq_len, batch=1)
        try:
            run(bench.build(replace(bench.job, cell=short)))
        except (ValueError, Unsupported):
            continue
        return seq_len
    return None


def books(bench: Bench) -> Books:
    """Return where the allocator's bytes are during fresh steps, in a pass of their own.

    With a folder for artifacts, the bytes over time are left there, account by account.
    """
    cell = bench.job.cell
    found = accounts.keep(lambda: build(bench), steps(cell), cell.device)
    if bench.job.artifacts is not None:
        folder = Path(bench.job.artifacts)
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(accounts.timeline(found), separators=(",", ":"))
        (folder / TIMELINE).write_text(text + "\n", encoding="utf-8")
    return found


def build(bench: Bench) -> Workload:
    """Return a fresh workload; an error says that it happened while building."""
    with _noted(lambda: "while parameters and input were made"):
        return bench.fresh()


@contextmanager
def located(model: nn.Module) -> Iterator[None]:
    """Add to an error in which part of a step it happened."""
    part = ""

    def enter(name: str) -> None:
        nonlocal part
        part = name

    with followed(model, enter), _noted(lambda: f"in the {part}"):
        yield


@contextmanager
def _noted(words: Callable[[], str]) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch's errors of memory are RuntimeErrors
        error.add_note(words())
        raise


def size(name: str, value: int, method: str) -> Measurement:
    """Return one size in bytes."""
    return Measurement(metric=name, unit="byte", better="lower", samples=(value,), method=method)
