"""ListOps: evaluate a nested expression of MIN, MAX, MED and SM over digits.

Definition (Nangia and Bowman 2018; generator of Tay et al. 2021, "Long Range Arena"): a place of
the tree is a digit with probability 3/4, else an operator MIN, MAX, MED (the lower integer of the
median) or SM (sum modulo 10) with 2 to `ARGUMENTS` arguments, to a depth of `DEPTH`; parentheses
are left out, as there. Trees of L/4 to L tokens are kept. LRA's own has depth 10, up to 10
arguments and 500 to 2000 tokens; this form has 6 and 6.

Vocabulary: 10 digits, 4 operators, the closing bracket; 15 is padding. Score: accuracy over ten
answers. Chance: 0.1. Baselines, computed on test trees: the most frequent answer, and the best
answer by the root's operator and nothing else. At LRA's lengths that last rule scores 0.37, which
is what LRA prints for a Transformer: only what lies well above it is evidence of computation.
Splits: by a hash of the expression, so that none occurs in two.
"""

from __future__ import annotations

import functools
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from harness.worker import scoring
from harness.worker.task import Batch, Setting, Task, stream

DEPTH, ARGUMENTS, DIGIT = 6, 6, 0.75
OPERATORS, CLOSE, PAD = (10, 11, 12, 13), 14, 15  # MIN, MAX, MED, SM
PARTS = {"test": (0,), "validation": (1,), "train": tuple(range(2, 10))}  # tenths of the hash
JUDGED = 2000  # test trees that baselines are computed on


@dataclass(frozen=True, slots=True, kw_only=True)
class Trees:
    """Random expressions with their values."""

    setting: Setting

    def draw(self, split: str, count: int, generator: np.random.Generator) -> Batch:
        """Return expressions of a split, padded to the length."""
        length = self.setting.seq_len
        tokens = np.full((count, length), PAD, dtype=np.int64)
        mask = np.zeros((count, length), dtype=bool)
        values = np.empty(count, dtype=np.int64)
        for row, (tree, value) in zip(range(count), self.trees(split, generator), strict=False):
            tokens[row, : len(tree)], mask[row, : len(tree)], values[row] = tree, True, value
        return Batch(
            tokens=torch.from_numpy(tokens),
            targets=torch.from_numpy(values),
            mask=torch.from_numpy(mask),
        )

    def trees(self, split: str, generator: np.random.Generator) -> Iterator[tuple[list[int], int]]:
        """Yield expressions of a split without end."""
        chances = iter(_numbers(generator))
        while True:
            tokens: list[int] = []
            value = _grow(tokens, chances, DEPTH, self.setting.seq_len)
            kept = self.setting.seq_len // 4 <= len(tokens) <= self.setting.seq_len
            if kept and zlib.crc32(bytes(tokens)) % 10 in PARTS[split]:
                yield tokens, value


def make(setting: Setting) -> Trees:
    """Return the expressions.

    Raises:
        ValueError: the length is too short or beyond what such trees reach, or there are too few
            symbols.
    """
    if not 16 <= setting.seq_len <= 512:
        raise ValueError(f"listops: seq_len {setting.seq_len}; from 16 to 512")
    if setting.vocab <= PAD:
        raise ValueError(f"listops: vocab {setting.vocab}; at least {PAD + 1}")
    return Trees(setting=setting)


def baselines(setting: Setting) -> Mapping[str, float]:
    """Return what guessing, the most frequent answer, and the root's operator give."""
    return _baselines(setting)


@functools.cache
def _baselines(setting: Setting) -> Mapping[str, float]:
    answers: Counter[int] = Counter()
    by_root: dict[int, Counter[int]] = {}
    trees = make(setting).trees("test", stream("test", 0, 1))
    for _, (tree, value) in zip(range(JUDGED), trees, strict=False):
        answers[value] += 1
        by_root.setdefault(tree[0], Counter())[value] += 1
    root = sum(counts.most_common(1)[0][1] for counts in by_root.values())
    most = answers.most_common(1)[0][1]
    return {"chance": 0.1, "most frequent": most / JUDGED, "root operator": root / JUDGED}


def _numbers(generator: np.random.Generator) -> Iterator[float]:
    while True:
        yield from generator.random(4096).tolist()


def _grow(tokens: list[int], chances: Iterator[float], depth: int, longest: int) -> int:
    """Append a random expression and return its value; one that grows too long is broken off."""
    if depth <= 0 or len(tokens) > longest or (tokens and next(chances) < DIGIT):
        tokens.append(int(next(chances) * 10))
        return tokens[-1]
    operator = OPERATORS[int(next(chances) * len(OPERATORS))]
    count = 2 + int(next(chances) * (ARGUMENTS - 1))
    tokens.append(operator)
    values = [_grow(tokens, chances, depth - 1, longest) for _ in range(count)]
    tokens.append(CLOSE)
    return evaluate(operator, values)


def evaluate(operator: int, values: list[int]) -> int:
    """Return the value of an operator over its arguments."""
    if operator == OPERATORS[0]:
        return min(values)
    if operator == OPERATORS[1]:
        return max(values)
    if operator == OPERATORS[2]:
        ordered, n = sorted(values), len(values)
        return (ordered[(n - 1) // 2] + ordered[n // 2]) // 2
    return sum(values) % 10


TASK = Task(
    make=make,
    kind="sequence",
    score="accuracy",
    tally=scoring.count_classes,
    figures=scoring.class_accuracy,
    baselines=baselines,
    floor=0.35,
    stop=None,
    defaults={
        "seq_len": 96,
        "batch": 64,
        "d_model": 64,
        "heads": 2,
        "d_ff": 128,
        "layers": 2,
        "vocab": 16,
        "causal": False,
    },
    options={"positions": "learned", "init_std": 0.08},
    training={"steps": 2000, "learning_rates": (2e-3,), "eval_every": 200},
)
