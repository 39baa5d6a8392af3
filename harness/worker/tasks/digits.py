"""Digits: handwritten numerals, read pixel by pixel.

Definition: scikit-learn's copy of the UCI test set "Optical recognition of handwritten digits"
(Alpaydin and Kaynak 1998): 1797 images of 8 x 8 pixels in 17 grey levels, read row by row as tokens
1 ... 17; the network tells which of ten numerals it is from the mean over tokens. A length of 256
shows each pixel as a square of four. Needs the package scikit-learn, which brings the images.

Vocabulary: 18 (0 is not used). Chance: 0.1. Score: accuracy. Splits: 1200 images to learn from, 300
to choose by, 297 to be judged by, of one fixed permutation; training examples are drawn with
repetition. There is nothing far to be found in 64 pixels: it tells whether a network with an
attention learns to classify at all, not how far it sees.
"""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from harness.worker import scoring
from harness.worker.task import Batch, Setting, Task
from models.variant import Unsupported

SIDE, LEVELS, CLASSES = 8, 17, 10
ENDS = {"train": (0, 1200), "validation": (1200, 1500), "test": (1500, 1797)}
ADVICE = "digits: the images are those of scikit-learn; pip install scikit-learn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Images and their classes, permuted."""

    pixels: np.ndarray  # [1797, seq_len], tokens
    classes: np.ndarray  # [1797]

    def draw(self, split: str, count: int, generator: np.random.Generator) -> Batch:
        """Return images of a split, at random; those to be judged by come once each."""
        begin, end = ENDS[split]
        if split == "train":
            chosen = generator.integers(begin, end, count)
        else:
            chosen = begin + generator.permutation(end - begin)[:count]
        return Batch(
            tokens=torch.from_numpy(self.pixels[chosen]),
            targets=torch.from_numpy(self.classes[chosen]),
        )


def make(setting: Setting) -> Images:
    """Return the images.

    Raises:
        ValueError: another length than 64 and 256, or too small a vocabulary.
        Unsupported: scikit-learn is not installed.
    """
    if setting.seq_len not in {SIDE * SIDE, 4 * SIDE * SIDE}:
        raise ValueError(f"digits: seq_len {setting.seq_len}; 64, or 256 with larger pixels")
    if setting.vocab <= LEVELS:
        raise ValueError(f"digits: vocab {setting.vocab}; at least {LEVELS + 1}")
    data = _load()
    data = data[np.random.default_rng(0).permutation(len(data))]
    images = 1 + data[:, :-1].reshape(-1, SIDE, SIDE)
    if setting.seq_len > SIDE * SIDE:
        images = images.repeat(2, axis=1).repeat(2, axis=2)
    return Images(pixels=images.reshape(len(images), -1), classes=data[:, -1])


def baselines(_setting: Setting) -> Mapping[str, float]:
    """Return what guessing gives; classes are nearly equal in number."""
    return {"chance": 1 / CLASSES}


def _load() -> np.ndarray:
    """Return a row an image: its 64 levels and its class.

    The file is read as it lies in the package: importing that would take seconds and start threads.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise Unsupported(ADVICE)
    file = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if not file.is_file():
        raise Unsupported(f"digits: this scikit-learn has no {file.name}")
    with gzip.open(file, "rt", encoding="ascii") as lines:
        return np.loadtxt(lines, delimiter=",", dtype=np.int64)


TASK = Task(
    make=make,
    kind="sequence",
    score="accuracy",
    tally=scoring.count_classes,
    figures=scoring.class_accuracy,
    baselines=baselines,
    floor=0.85,
    stop=0.97,
    defaults={
        "seq_len": 64,
        "batch": 32,
        "d_model": 64,
        "heads": 2,
        "d_ff": 128,
        "layers": 2,
        "vocab": 18,
        "causal": False,
    },
    options={"positions": "learned", "init_std": 0.08},
    training={"steps": 600, "learning_rates": (3e-3,), "eval_every": 50},
)
