"""Needle: find one fact in a haystack, by length and by depth.

Definition: a haystack of filler words holds two needles `MARK key value`, of different keys; at the
end stands `ASK key` of one of them, and the network is asked for its value. Lengths are L, L/2, L/4
and L/8, the depth of the needle that is asked for is one of five equal zones, all equally often, in
training and in tests. What follows a shorter text is not asked (after "needle in a haystack" and
the reporting of RULER, Hsieh et al. 2024).

Vocabulary: MARK, ASK and V - 2 words, a third each fillers, keys and values. Chance: 3 / (V - 2).
Score: accuracy over all lengths and depths; `length_64_depth_2` is that of one length and zone
(0 begins the text), `effective_length` the longest length up to which every length reaches 0.9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.worker.task import IGNORED, Batch, Setting, Task

MARK, ASK, WORDS = 0, 1, 2
ZONES, PARTS, NEEDLE = 5, (1, 2, 4, 8), 3
GOOD = 0.9  # accuracy at which a length counts as effective
SHORTEST = 4 * ZONES  # of the shortest text


@dataclass(frozen=True, slots=True, kw_only=True)
class Haystacks:
    """Haystacks with two needles and a question."""

    setting: Setting

    @property
    def each(self) -> int:
        """Fillers, and as many keys and values."""
        return (self.setting.vocab - WORDS) // 3

    def draw(self, _split: str, count: int, generator: np.random.Generator) -> Batch:
        """Return haystacks; their space is too large for any to occur in two splits."""
        n, length = self.each, self.setting.seq_len
        tokens = WORDS + generator.integers(0, n, (count, length))
        targets = np.full((count, length), IGNORED, dtype=np.int64)
        kinds = generator.permutation(np.arange(count)) % (ZONES * len(PARTS))
        for row, kind in enumerate(kinds):
            size, zone = length // PARTS[kind // ZONES], int(kind % ZONES)
            keys = WORDS + n + generator.permutation(n)[:2]
            values = WORDS + 2 * n + generator.integers(0, n, 2)
            for which, place in enumerate(self._places(size, zone, generator)):
                tokens[row, place : place + NEEDLE] = (MARK, keys[which], values[which])
            tokens[row, size - 2 : size] = (ASK, keys[0])
            targets[row, size - 1] = values[0]
        notes = {"kinds": torch.from_numpy(kinds), "length": length}
        return Batch(
            tokens=torch.from_numpy(tokens), targets=torch.from_numpy(targets), notes=notes
        )

    def _places(self, size: int, zone: int, generator: np.random.Generator) -> tuple[int, int]:
        """Return the place of the needle that is asked for, and of another beside it."""
        room = (size - 2) // NEEDLE  # slots of a needle's width before the question
        first = zone * room // ZONES
        slot = int(generator.integers(first, (zone + 1) * room // ZONES))
        other = int(generator.integers(0, room - 1))
        return NEEDLE * slot, NEEDLE * (other + (other >= slot))


def make(setting: Setting) -> Haystacks:
    """Return the haystacks.

    Raises:
        ValueError: the length is no multiple of 8 or too short, or there are too few words.
    """
    if setting.seq_len % PARTS[-1] or setting.seq_len < PARTS[-1] * SHORTEST:
        least = PARTS[-1] * SHORTEST
        raise ValueError(f"needle: seq_len {setting.seq_len}; a multiple of 8, at least {least}")
    if setting.vocab < WORDS + 3 * 4:
        raise ValueError(f"needle: vocab {setting.vocab}; at least {WORDS + 3 * 4}")
    return Haystacks(setting=setting)


def tally(logits: Tensor, batch: Batch) -> dict[str, float]:
    """Count questions and right answers, by length and zone."""
    right = ((logits.argmax(dim=-1) == batch.targets) & (batch.targets != IGNORED)).any(dim=1)
    kinds = batch.notes["kinds"].to(right.device)
    sums: dict[str, float] = {}
    for part, share in enumerate(PARTS):
        for zone in range(ZONES):
            here = kinds == part * ZONES + zone
            name = f"length_{batch.notes['length'] // share}_depth_{zone}"
            sums[f"right {name}"] = (right & here).sum().item()
            sums[f"asked {name}"] = here.sum().item()
    return sums


def figures(sums: Mapping[str, float]) -> dict[str, float]:
    """Return the accuracy over all, of each length and zone, and the effective length."""
    names = [key.removeprefix("asked ") for key in sums if key.startswith("asked ")]
    asked = [name for name in names if sums[f"asked {name}"]]
    found = {name: sums[f"right {name}"] / sums[f"asked {name}"] for name in asked}
    effective = 0
    lengths = sorted({int(name.split("_")[1]) for name in found})
    for length in lengths:
        mine = [value for name, value in found.items() if name.split("_")[1] == str(length)]
        if sum(mine) / len(mine) < GOOD:
            break
        effective = length
    whole = sum(sums[f"right {name}"] for name in asked) / sum(sums[f"asked {n}"] for n in asked)
    return {"score": whole, "effective_length": float(effective), **found}


def baselines(setting: Setting) -> Mapping[str, float]:
    """Return what guessing a value gives, and what a value of the same text gives."""
    return {"chance": 3 / (setting.vocab - WORDS), "a value of this text": 0.5}


TASK = Task(
    make=make,
    kind="tokens",
    score="accuracy",
    tally=tally,
    figures=figures,
    baselines=baselines,
    floor=0.9,
    stop=0.99,
    defaults={
        "seq_len": 256,
        "batch": 40,
        "d_model": 64,
        "heads": 1,
        "d_ff": 128,
        "layers": 1,
        "vocab": 98,
        "causal": True,
    },
    options={"positions": "learned", "conv": 3, "init_std": 0.08},
    training={"steps": 1500, "learning_rates": (3e-3,), "eval_every": 50},
)
