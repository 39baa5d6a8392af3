"""Match: do two texts, read apart, hold the same markers?

Definition: each text is L filler words with m = 4 of 64 marker words, without repetition, at random
places; two texts match if they hold the same markers; those that do not differ in exactly one. The
network reads each text by itself and judges by the means of both: a stand-in for retrieval over
documents (Tay et al. 2021, "Long Range Arena", AAN) that needs no data.

Vocabulary: 64 fillers and 64 markers. Chance: 0.5. Score: accuracy. It asks how well a text is
pressed into one vector, so that it says little of an attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from harness.worker import scoring
from harness.worker.task import Batch, Setting, Task

FILLERS, MARKERS, HELD = 64, 64, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Pairs of texts."""

    setting: Setting

    def draw(self, _split: str, count: int, generator: np.random.Generator) -> Batch:
        """Return pairs, half of which match; their space is too large for repetitions."""
        length = self.setting.seq_len
        tokens = generator.integers(0, FILLERS, (count, 2, length))
        markers = np.argsort(generator.random((count, MARKERS)), axis=1)[:, : HELD + 1]
        matches = generator.integers(0, 2, count)
        held = np.stack([markers[:, :HELD], markers[:, :HELD]], axis=1)
        held[matches == 0, 1, 0] = markers[matches == 0, HELD]  # one of the four is another
        places = np.argsort(generator.random((count, 2, length)), axis=2)[..., :HELD]
        np.put_along_axis(tokens, places, FILLERS + held, axis=2)
        return Batch(tokens=torch.from_numpy(tokens), targets=torch.from_numpy(matches))


def make(setting: Setting) -> Pairs:
    """Return the pairs.

    Raises:
        ValueError: the texts are too short, or there are too few words.
    """
    if setting.seq_len < 2 * HELD:
        raise ValueError(f"match: seq_len {setting.seq_len}; at least {2 * HELD}")
    if setting.vocab < FILLERS + MARKERS:
        raise ValueError(f"match: vocab {setting.vocab}; it has {FILLERS + MARKERS} words")
    return Pairs(setting=setting)


def baselines(_setting: Setting) -> Mapping[str, float]:
    """Return what guessing gives."""
    return {"chance": 0.5}


TASK = Task(
    make=make,
    kind="pair",
    score="accuracy",
    tally=scoring.count_classes,
    figures=scoring.class_accuracy,
    baselines=baselines,
    floor=0.8,
    stop=0.97,
    defaults={
        "seq_len": 64,
        "batch": 64,
        "d_model": 64,
        "heads": 2,
        "d_ff": 128,
        "layers": 1,
        "vocab": 128,
        "causal": False,
    },
    options={"positions": "learned", "init_std": 0.08},
    training={"steps": 2000, "learning_rates": (3e-3,), "eval_every": 100},
)
