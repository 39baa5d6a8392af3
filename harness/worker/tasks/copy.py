"""Copy: repeat a random word that stands half a sequence back, `0 w 0 w`.

Definition: w is uniform over the symbols 1 ... V-1, of length L/2 - 1; the network reads `0 w 0 w`
and is asked for every symbol of the second w (Kitaev et al. 2020, section 2.1, "synthetic task";
there L = 1024, V = 128). Nothing but attention over L/2 places can answer.

Vocabulary: V symbols, of which 0 separates. Chance: 1 / (V - 1). Score: accuracy on the second w;
`exact` is the share of words without a mistake. A window shorter than L/2 stays at chance for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from harness.worker import scoring
from harness.worker.task import IGNORED, Batch, Setting, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Random words, each twice."""

    setting: Setting

    def draw(self, _split: str, count: int, generator: np.random.Generator) -> Batch:
        """Return sequences; their space is too large for any to occur in two splits."""
        half = self.setting.seq_len // 2
        word = generator.integers(1, self.setting.vocab, (count, half - 1))
        once = np.concatenate([np.zeros((count, 1), dtype=np.int64), word], axis=1)
        tokens = torch.from_numpy(np.concatenate([once, once], axis=1))
        targets = torch.full_like(tokens, IGNORED)
        targets[:, half:-1] = tokens[:, half + 1 :]
        return Batch(tokens=tokens, targets=targets)


def make(setting: Setting) -> Words:
    """Return the words.

    Raises:
        ValueError: the length is odd or too short, or there are too few symbols.
    """
    if setting.seq_len % 2 or setting.seq_len < 4:
        raise ValueError(f"copy: seq_len {setting.seq_len}; an even length of at least 4")
    if setting.vocab < 3:
        raise ValueError(f"copy: vocab {setting.vocab}; a separator and at least two symbols")
    return Words(setting=setting)


def baselines(setting: Setting) -> Mapping[str, float]:
    """Return what guessing gives."""
    return {"chance": 1 / (setting.vocab - 1)}


TASK = Task(
    make=make,
    kind="tokens",
    score="accuracy",
    tally=scoring.count_tokens,
    figures=scoring.token_accuracy,
    baselines=baselines,
    floor=0.95,
    stop=0.999,
    defaults={
        "seq_len": 128,
        "batch": 16,
        "d_model": 64,
        "heads": 2,
        "d_ff": 128,
        "layers": 1,
        "vocab": 128,
        "causal": True,
    },
    options={"positions": "learned", "init_std": 0.08},
    training={"steps": 600, "learning_rates": (3e-3,), "eval_every": 25},
)
