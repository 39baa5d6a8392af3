"""Multi-query associative recall: what value followed this key?

Definition (Arora et al. 2023, "Zoology"): K keys from 1 ... V/2 - 1 and K values from V/2 ...
V - 1, both without repetition, are told in turn, `k1 v1 ... kK vK`; each key then comes once more
at a random later place, the gaps drawn without repetition with p(g) ~ g^(a - 1), a = 0.01, so that
short ones dominate, and the network is asked for its value there. Other places hold 0. K is L / 8.

Vocabulary: V symbols (more than L, so that keys and values suffice). Score: accuracy of the values.
Chance: 2 / V; "some value of this sequence" gives 1 / K, the plateau of a network that has not
learnt to look up. One layer needs the short convolution: attention alone cannot tell what followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from harness.worker import scoring
from harness.worker.task import IGNORED, Batch, Setting, Task

POWER = 0.01  # a of the gaps' law
SHARE = 8  # tokens a key


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Keys with values, then keys."""

    setting: Setting

    def draw(self, _split: str, count: int, generator: np.random.Generator) -> Batch:
        """Return sequences; their space is too large for any to occur in two splits."""
        length, vocab = self.setting.seq_len, self.setting.vocab
        pairs = length // SHARE
        half = vocab // 2
        keys = 1 + _without_repetition(generator, count, half - 1, pairs)
        values = half + _without_repetition(generator, count, vocab - half, pairs)
        slots = (length - 2 * pairs) // 2
        weights = np.arange(1, slots + 1) ** (POWER - 1.0)
        gaps = _weighted(generator, count, weights / weights.sum(), pairs)
        tokens = np.zeros((count, length), dtype=np.int64)
        tokens[:, 0 : 2 * pairs : 2], tokens[:, 1 : 2 * pairs : 2] = keys, values
        rows = np.arange(count)[:, None]
        asked = 2 * pairs + 2 * gaps
        tokens[rows, asked] = keys
        targets = np.full((count, length), IGNORED, dtype=np.int64)
        targets[rows, asked] = values
        return Batch(tokens=torch.from_numpy(tokens), targets=torch.from_numpy(targets))


def make(setting: Setting) -> Recall:
    """Return the sequences.

    Raises:
        ValueError: the length is no multiple of 16, or there are too few symbols.
    """
    if setting.seq_len % (2 * SHARE):
        raise ValueError(f"mqar: seq_len {setting.seq_len}; a multiple of {2 * SHARE}")
    if setting.vocab <= setting.seq_len:
        raise ValueError(f"mqar: vocab {setting.vocab}; more than seq_len {setting.seq_len}")
    return Recall(setting=setting)


def baselines(setting: Setting) -> Mapping[str, float]:
    """Return what guessing gives, and what a value of the same sequence gives."""
    return {"chance": 2 / setting.vocab, "a value of this sequence": SHARE / setting.seq_len}


def _without_repetition(
    generator: np.random.Generator, rows: int, among: int, count: int
) -> np.ndarray:
    return np.argsort(generator.random((rows, among)), axis=1)[:, :count]


def _weighted(
    generator: np.random.Generator, rows: int, weights: np.ndarray, count: int
) -> np.ndarray:
    """Draw without repetition with weights: the largest of log w + Gumbel (Efraimidis 2006)."""
    noise = generator.gumbel(size=(rows, len(weights)))
    return np.argsort(-(np.log(weights) + noise), axis=1)[:, :count]


TASK = Task(
    make=make,
    kind="tokens",
    score="accuracy",
    tally=scoring.count_tokens,
    figures=scoring.token_accuracy,
    baselines=baselines,
    floor=0.95,
    stop=0.99,
    defaults={
        "seq_len": 64,
        "batch": 16,
        "d_model": 64,
        "heads": 1,
        "d_ff": 128,
        "layers": 1,
        "vocab": 128,
        "causal": True,
    },
    options={"positions": "learned", "conv": 3, "init_std": 0.08},
    training={"steps": 400, "learning_rates": (1e-2,), "eval_every": 25},
)
