"""Reversal as translation: write the source backwards.

Definition: `BOS source SEP target`, the source n = L/2 - 1 symbols, uniform over V - 2, the target
its reverse; the network is asked for the target. As a decoder alone (`model: transformer` or
`reformer`) it reads all that in one causal sequence; as `model: seq2seq` an encoder reads the first
half and a decoder writes the second, its attention to the encoder always full. The first words ask
for a near place, the last for one L back: a window gets the first of them only.

Vocabulary: V symbols (0 BOS, 1 SEP). Chance: 1 / (V - 2). Score: sequences without a mistake, each
word being told the right ones before it (teacher forcing); `tokens` is the accuracy of words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from harness.worker import scoring
from harness.worker.task import IGNORED, Batch, Setting, Task

BOS, SEP, SYMBOL = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversals:
    """Sources with their reverses."""

    setting: Setting

    def draw(self, _split: str, count: int, generator: np.random.Generator) -> Batch:
        """Return sequences; their space is too large for any to occur in two splits."""
        half = self.setting.seq_len // 2
        source = generator.integers(SYMBOL, self.setting.vocab, (count, half - 1))
        begin = np.full((count, 1), BOS, dtype=np.int64)
        text = np.concatenate([begin, source, begin + SEP, source[:, ::-1]], axis=1)
        tokens = torch.from_numpy(text)
        targets = torch.full_like(tokens, IGNORED)
        targets[:, half:-1] = tokens[:, half + 1 :]
        return Batch(tokens=tokens, targets=targets)


def make(setting: Setting) -> Reversals:
    """Return the sequences.

    Raises:
        ValueError: the length is odd or too short, or there are too few symbols.
    """
    if setting.seq_len % 2 or setting.seq_len < 4:
        raise ValueError(f"seq2seq_reverse: seq_len {setting.seq_len}; even and at least 4")
    if setting.vocab < SYMBOL + 2:
        raise ValueError(f"seq2seq_reverse: vocab {setting.vocab}; at least {SYMBOL + 2}")
    return Reversals(setting=setting)


def baselines(setting: Setting) -> Mapping[str, float]:
    """Return what guessing gives: of sequences nothing, of words one in so many."""
    return {"chance": 0.0, "chance of a word": 1 / (setting.vocab - SYMBOL)}


TASK = Task(
    make=make,
    kind="tokens",
    score="exact sequences",
    tally=scoring.count_tokens,
    figures=scoring.exact_accuracy,
    baselines=baselines,
    floor=0.9,
    stop=0.995,
    defaults={
        "seq_len": 64,
        "batch": 16,
        "d_model": 64,
        "heads": 2,
        "d_ff": 128,
        "layers": 2,
        "vocab": 66,
        "causal": True,
    },
    options={"positions": "learned", "init_std": 0.08},
    training={"steps": 400, "learning_rates": (3e-3,), "eval_every": 25},
)
