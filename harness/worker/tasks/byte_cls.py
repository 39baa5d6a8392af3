"""Byte classification: which package is this piece of source from?

Definition: pieces of L bytes of eight packages of the standard library, read byte by byte; the
network tells the package from the mean over bytes. A stand-in for LRA's text classification that
every machine has; `imdb` is the real one.

Vocabulary: 256 bytes. Chance: 1/8; packages come equally often. Score: accuracy. Splits: by file,
in the order of a hash of its path, a fifth of the bytes each for tests and for validation. The
text depends on the version of Python: the environment of a result has its digest. It can be solved
by counting bytes, so that it tells whether a network learns to classify, not how far it sees.
"""

from __future__ import annotations

import functools
import sysconfig
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from harness.worker import scoring
from harness.worker.task import Batch, Setting, Task

PACKAGES = (
    *("asyncio", "ctypes", "email", "encodings"),
    *("importlib", "json", "multiprocessing", "xml"),
)
SHORTEST = 8
HELD_OUT = 0.2  # of a package's bytes, each for tests and for validation
Texts = Mapping[str, tuple[np.ndarray, ...]]  # split -> bytes of each package


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """Pieces of packages."""

    setting: Setting
    texts: Texts

    def draw(self, split: str, count: int, generator: np.random.Generator) -> Batch:
        """Return pieces, every package equally often."""
        classes = generator.permutation(np.arange(count)) % len(PACKAGES)
        length = self.setting.seq_len
        tokens = np.empty((count, length), dtype=np.int64)
        for row, which in enumerate(classes):
            text = self.texts[split][which]
            begin = int(generator.integers(0, len(text) - length + 1))
            tokens[row] = text[begin : begin + length]
        return Batch(tokens=torch.from_numpy(tokens), targets=torch.from_numpy(classes))


def make(setting: Setting) -> Pieces:
    """Return the pieces.

    Raises:
        ValueError: the vocabulary holds no byte, or no piece can have this length.
    """
    if setting.vocab < 256:
        raise ValueError(f"byte_cls: vocab {setting.vocab}; bytes need 256")
    if setting.seq_len < SHORTEST:
        raise ValueError(f"byte_cls: seq_len {setting.seq_len}; at least {SHORTEST}")
    texts = _texts()
    least = min(len(text) for split in texts.values() for text in split)
    if least < setting.seq_len:
        raise ValueError(f"byte_cls: seq_len {setting.seq_len}; the least text has {least} bytes")
    return Pieces(setting=setting, texts=texts)


def baselines(_setting: Setting) -> Mapping[str, float]:
    """Return what guessing gives; packages come equally often."""
    return {"chance": 1 / len(PACKAGES)}


@functools.cache
def _texts() -> Texts:
    root = Path(sysconfig.get_path("stdlib"))
    found: dict[str, list[np.ndarray]] = {split: [] for split in ("test", "validation", "train")}
    for package in PACKAGES:
        parts = _split(root, root / package)
        for split, texts in parts.items():
            found[split].append(np.frombuffer(b"\n".join(texts), dtype=np.uint8))
    return {split: tuple(texts) for split, texts in found.items()}


def _split(root: Path, folder: Path) -> Mapping[str, list[bytes]]:
    """Return the files of a package by split: the first by hash are held out, until enough."""
    named = {str(file.relative_to(root)): file.read_bytes() for file in folder.rglob("*.py")}
    enough = HELD_OUT * sum(map(len, named.values()))
    parts: dict[str, list[bytes]] = {"test": [], "validation": [], "train": []}
    for name in sorted(named, key=lambda name: (zlib.crc32(name.encode()), name)):
        wanting = (split for split in parts if sum(map(len, parts[split])) < enough)
        parts[next(wanting, "train")].append(named[name])
    return parts


TASK = Task(
    make=make,
    kind="sequence",
    score="accuracy",
    tally=scoring.count_classes,
    figures=scoring.class_accuracy,
    baselines=baselines,
    floor=0.3,
    stop=None,
    defaults={
        "seq_len": 256,
        "batch": 32,
        "d_model": 64,
        "heads": 2,
        "d_ff": 128,
        "layers": 2,
        "vocab": 256,
        "causal": False,
    },
    options={"positions": "learned", "init_std": 0.08},
    training={"steps": 800, "learning_rates": (2e-3,), "eval_every": 100},
)
