"""The kind `Task`: something to be learnt whose right answer is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from harness.schema import Better, Cell
from models.catalog import Catalog

TASKS = Catalog("harness.worker.tasks", "TASK")
IGNORED = -100  # target of a place where nothing is asked, as in torch
SPLITS = ("train", "validation", "test")

# Where targets stand: at every token; one for a sequence, told by the mean over its tokens; one for
# a pair of sequences, which the network reads apart.
Kind = Literal["tokens", "sequence", "pair"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Sequences and what is asked of them."""

    tokens: Tensor  # [batch, time], int64; a pair's are [batch, 2, time]
    targets: Tensor  # [batch, time] or [batch], int64; `IGNORED` where nothing is asked
    mask: Tensor | None = (
        None  # True at tokens, False at padding, shaped as tokens; None: no padding
    )
    notes: Mapping[str, Any] = field(default_factory=dict[str, Any])  # what only the score needs

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What the network is given: tokens, and the mask if there is one."""
        return (self.tokens,) if self.mask is None else (self.tokens, self.mask)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on a device."""
        mask = None if self.mask is None else self.mask.to(device)
        return Batch(
            tokens=self.tokens.to(device),
            targets=self.targets.to(device),
            mask=mask,
            notes=self.notes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a cell asks of its task."""

    seq_len: int
    vocab: int
    data_path: str | None = None  # the user's data; None: what the task makes or finds itself


class Source(Protocol):
    """The examples of a task in one setting."""

    def draw(self, split: str, count: int, generator: np.random.Generator, /) -> Batch:
        """Return `count` examples of a split; equal generators give equal examples."""
        ...


# Sums over examples, from the logits of a batch and the batch; they are added over batches.
Tally = Callable[[Tensor, Batch], dict[str, float]]
# Figures from the sums; `score` is the one that counts.
Figures = Callable[[Mapping[str, float]], dict[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task; the last line of a file in `tasks/` makes one.

    `defaults` are fields of a cell where a suite does not give them, and `options` of its model.
    The office reads both without importing the file: they are written as plain dictionaries.
    """

    make: Callable[[Setting], Source]  # raises ValueError for a setting that cannot be
    kind: Kind
    score: str  # what the score is, in words: "accuracy", "span F1", "bits per byte"
    tally: Tally
    figures: Figures
    # What needs no attention: name of a trivial rule -> its score in a setting; `chance` is one.
    baselines: Callable[[Setting], Mapping[str, float]]
    floor: float  # a score from which on the task counts as learnt, in its default setting
    stop: float | None  # a score at which training may end; None: never before its last step
    defaults: Mapping[str, Any]
    training: Mapping[str, Any]  # steps, learning_rates, eval_every, examples: see `training.Plan`
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    better: Better = "higher"
    offline: bool = True  # False: needs the user's data

    def reached(self, score: float, level: float) -> bool:
        """Say whether a score is at least as good as a level."""
        return score >= level if self.better == "higher" else score <= level


def load(name: str) -> Task:
    """Return a task by name.

    Raises:
        UnknownNameError: there is none; the message gives the nearest.
    """
    return TASKS.load(name)


def setting(cell: Cell, data_path: str | None, seq_len: int | None = None) -> Setting:
    """Return the setting of a cell, or the same at another length."""
    return Setting(seq_len=seq_len or cell.seq_len, vocab=cell.vocab, data_path=data_path)


def stream(split: str, seed: int, number: int = 0) -> np.random.Generator:
    """Return the generator of one batch: it depends on split, seed and number, on nothing else.

    So every variant of a seed sees the same examples in the same order, training that is resumed
    goes on as if it had not stopped, and no split shares its numbers with another.
    """
    return np.random.default_rng([SPLITS.index(split), seed, number])


def examples(source: Source, split: str, seed: int, count: int, size: int) -> Sequence[Batch]:
    """Return `count` fixed examples of a split in batches of at most `size`."""
    sizes = [min(size, count - begin) for begin in range(0, count, size)]
    return [source.draw(split, n, stream(split, seed, i)) for i, n in enumerate(sizes)]
