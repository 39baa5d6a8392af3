"""Numbers to words: translate `1024;7;` into `one thousand twenty four ; seven ;`.

Definition: the source is a list of decimal numbers, n = 10^U(0,6) rounded down, each ended by `;`;
after SEP stand their English words (without "and" and hyphens), each number ended by `;` again. As
many numbers as fit L tokens together with their words; the rest is padding on the right. The
network is asked for the words. Lengths differ on both sides, words depend on the digits around.

Vocabulary: 10 digits, `;`, SEP, padding, 28 words below a hundred and two above. Score: numbers all
of whose words are right, each being told the right ones before it; `tokens` is the accuracy of
words. Chance: 0. It needs about ten times the budget of the other tasks before whole numbers come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.worker.task import IGNORED, Batch, Setting, Task

END, SEP, PAD, WORD = 10, 11, 12, 13
SMALL, TENS, HUNDRED, THOUSAND = 20, 8, WORD + 28, WORD + 29  # zero ... nineteen, twenty ... ninety
VOCAB = THOUSAND + 1  # 43
LARGEST = 6.0  # decimal logarithm


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """Lists of numbers with their words."""

    setting: Setting

    def draw(self, _split: str, count: int, generator: np.random.Generator) -> Batch:
        """Return lists; their space is too large for any to occur in two splits."""
        length = self.setting.seq_len
        tokens = np.full((count, length), PAD, dtype=np.int64)
        targets = np.full((count, length), IGNORED, dtype=np.int64)
        for row in range(count):
            source, target = _fill(length, generator)
            text = [*source, SEP, *target]
            tokens[row, : len(text)] = text
            first = len(source)
            targets[row, first : first + len(target)] = target
        return Batch(tokens=torch.from_numpy(tokens), targets=torch.from_numpy(targets))


def make(setting: Setting) -> Lists:
    """Return the lists.

    Raises:
        ValueError: the length holds no number, or the vocabulary not the words.
    """
    if setting.seq_len < 32:
        raise ValueError(f"num2words: seq_len {setting.seq_len}; at least 32")
    if setting.vocab < VOCAB:
        raise ValueError(f"num2words: vocab {setting.vocab}; it has {VOCAB} words")
    return Lists(setting=setting)


def in_words(number: int) -> list[int]:
    """Return the words of a number below a million, as tokens."""
    if number >= 1000:
        rest = number % 1000
        return [*in_words(number // 1000), THOUSAND, *(in_words(rest) if rest else [])]
    if number >= 100:
        rest = number % 100
        return [WORD + number // 100, HUNDRED, *(in_words(rest) if rest else [])]
    if number >= SMALL:
        tens = WORD + SMALL + number // 10 - 2
        return [tens, WORD + number % 10] if number % 10 else [tens]
    return [WORD + number]


def tally(logits: Tensor, batch: Batch) -> dict[str, float]:
    """Count words and numbers, and those that are right."""
    asked = batch.targets != IGNORED
    right = (logits.argmax(dim=-1) == batch.targets) & asked
    ends = batch.targets == END
    which = ends.cumsum(dim=1) - ends.long()  # the number that each asked token belongs to
    wrong = torch.zeros_like(which).scatter_add_(1, which, (asked & ~right).long())
    numbers = ends.sum(dim=1, keepdim=True)
    places = torch.arange(which.shape[1], device=which.device)
    whole = (wrong == 0) & (places < numbers)
    return {
        "right": right.sum().item(),
        "asked": asked.sum().item(),
        "whole": whole.sum().item(),
        "numbers": ends.sum().item(),
    }


def figures(sums: Mapping[str, float]) -> dict[str, float]:
    """Return the share of numbers without a mistake, and of words."""
    return {"score": sums["whole"] / sums["numbers"], "tokens": sums["right"] / sums["asked"]}


def baselines(_setting: Setting) -> Mapping[str, float]:
    """Return what guessing gives."""
    return {"chance": 0.0}


def _fill(length: int, generator: np.random.Generator) -> tuple[list[int], list[int]]:
    source: list[int] = []
    target: list[int] = []
    while True:
        number = int(10 ** generator.uniform(0, LARGEST))
        digits, words = [int(digit) for digit in str(number)], in_words(number)
        if len(source) + len(target) + len(digits) + len(words) + 3 > length:
            return source, target
        source += [*digits, END]
        target += [*words, END]


TASK = Task(
    make=make,
    kind="tokens",
    score="exact numbers",
    tally=tally,
    figures=figures,
    baselines=baselines,
    floor=0.9,
    stop=0.99,
    defaults={
        "seq_len": 128,
        "batch": 32,
        "d_model": 64,
        "heads": 2,
        "d_ff": 128,
        "layers": 2,
        "vocab": 43,
        "causal": True,
    },
    options={"positions": "learned", "conv": 3, "init_std": 0.08},
    training={"steps": 10000, "learning_rates": (3e-3,), "eval_every": 250},
)
