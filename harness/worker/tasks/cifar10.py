"""CIFAR-10: what does a picture show? Read as grey pixels, row by row, from the user's copy.

Definition (Krizhevsky 2009; as pixels, Tay et al. 2021): 32 x 32 pixels in 256 grey levels (0.299 R
+ 0.587 G + 0.114 B), one token each, ten classes; the network answers from the mean over pixels.
Give the archive `cifar-10-python.tar.gz` (cs.toronto.edu/~kriz/cifar.html) as `data.path`; it is
refused unless size and MD5 are right, and read by an unpickler that makes arrays only.

Vocabulary: 256 levels. Chance: 0.1. Score: accuracy. Splits: 45,000 to learn from, the last 5,000
of the training part to choose by, 10,000 to be judged by. Published in LRA: Transformer 0.424,
Reformer 0.381, with networks of other sizes.
"""

from __future__ import annotations

import functools
import io
import pickle
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.worker import scoring, userfile
from harness.worker.task import Batch, Setting, Task

NAME, MD5, SIZE = "cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a", 170_498_071
ADVICE = "from cs.toronto.edu/~kriz/cifar.html"
PIXELS, LEVELS, CLASSES = 32 * 32, 256, 10
GREY = (0.299, 0.587, 0.114)
ENDS = {"train": (0, 45_000), "validation": (45_000, 50_000), "test": (50_000, 60_000)}
FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Pictures in the archive's order, those to be judged by last."""

    pixels: np.ndarray  # [60000, 1024], uint8
    classes: np.ndarray

    def draw(self, split: str, count: int, generator: np.random.Generator) -> Batch:
        """Return pictures of a split at random."""
        chosen = generator.integers(*ENDS[split], count)
        return Batch(
            tokens=torch.from_numpy(self.pixels[chosen].astype(np.int64)),
            targets=torch.from_numpy(self.classes[chosen]),
        )


def make(setting: Setting) -> Pictures:
    """Return the pictures.

    Raises:
        ValueError: no archive, or another one; another length; too small a vocabulary.
    """
    if setting.seq_len != PIXELS:
        raise ValueError(f"cifar10: seq_len {setting.seq_len}; a picture has {PIXELS} pixels")
    if setting.vocab < LEVELS:
        raise ValueError(f"cifar10: vocab {setting.vocab}; at least {LEVELS}")
    file = userfile.require(setting.data_path, "cifar10", NAME, ADVICE)
    userfile.check(file, NAME, "md5", MD5, SIZE)
    return read(file)


@functools.cache
def read(file: Path) -> Pictures:
    """Return the pictures of an archive in grey."""
    pixels: list[np.ndarray] = []
    classes: list[np.ndarray] = []
    with tarfile.open(file, "r:gz") as archive:
        for name in FILES:
            stream = archive.extractfile(f"cifar-10-batches-py/{name}")
            if stream is None:
                raise ValueError(f"cifar10: {name} is not in the archive")
            told = Arrays(io.BytesIO(stream.read()), encoding="bytes").load()
            colours = told[b"data"].reshape(-1, 3, PIXELS)
            pixels.append(np.tensordot(colours, GREY, axes=([1], [0])).round().astype(np.uint8))
            classes.append(np.array(told[b"labels"], dtype=np.int64))
    return Pictures(pixels=np.concatenate(pixels), classes=np.concatenate(classes))


class Arrays(pickle.Unpickler):
    """Makes numbers, texts, lists, dictionaries and arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name in the file stands for, if it may be made.

        Raises:
            pickle.UnpicklingError: it may not.
        """
        allowed = {"_reconstruct", "ndarray", "dtype", "_frombuffer", "scalar"}
        if module.partition(".")[0] == "numpy" and name in allowed:
            return super().find_class(module, name)
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not in pictures")


def baselines(_setting: Setting) -> Mapping[str, float]:
    """Return what guessing gives; classes are equally many."""
    return {"chance": 1 / CLASSES}


TASK = Task(
    make=make,
    kind="sequence",
    score="accuracy",
    tally=scoring.count_classes,
    figures=scoring.class_accuracy,
    baselines=baselines,
    floor=0.35,
    stop=None,
    offline=False,
    defaults={
        "seq_len": 1024,
        "batch": 64,
        "d_model": 128,
        "heads": 4,
        "d_ff": 256,
        "layers": 3,
        "vocab": 256,
        "causal": False,
    },
    options={"positions": "learned"},
    training={"steps": 35000, "learning_rates": (3e-4, 1e-3), "eval_every": 1000},
)
