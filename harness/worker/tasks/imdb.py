"""IMDb: is a film review positive or negative? Read byte by byte, from the user's copy.

Definition (Maas et al. 2011; as bytes, Tay et al. 2021): the first L bytes of a review, 25,000 to
learn from and 25,000 to be judged by. The network answers from the mean over bytes. Give the
archive `aclImdb_v1.tar.gz` (ai.stanford.edu/~amaas/data/sentiment) as `data.path`; it is refused
unless its MD5 is right.

Vocabulary: 256 bytes and padding. Chance: 0.5. Score: accuracy. Validation: a tenth of the reviews
of the training part, by a hash of their names (LRA has none and chooses on the test part).
Published there at 4096 bytes: Transformer 0.643, Reformer 0.561, not the paper's Reformer; figures
of other harnesses are not comparable.
"""

from __future__ import annotations

import functools
import re
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from harness.worker import scoring, userfile
from harness.worker.task import Batch, Setting, Task

NAME, MD5 = "aclImdb_v1.tar.gz", "7c2ac02c03563afcf9b574c7e56c153a"
ADVICE = "from ai.stanford.edu/~amaas/data/sentiment"
PAD = 256
LONGEST = 1 << 16  # bytes of a review that are kept
_MEMBER = re.compile(r"aclImdb/(train|test)/(pos|neg)/[^/]+\.txt")
Reviews = Mapping[str, tuple[tuple[bytes, int], ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Reviews and whether they are positive."""

    setting: Setting
    reviews: Reviews

    def draw(self, split: str, count: int, generator: np.random.Generator) -> Batch:
        """Return reviews of a split at random."""
        part, length = self.reviews[split], self.setting.seq_len
        tokens = np.full((count, length), PAD, dtype=np.int64)
        classes = np.empty(count, dtype=np.int64)
        for row, which in enumerate(generator.integers(0, len(part), count)):
            text, classes[row] = part[which]
            own = np.frombuffer(text[:length], dtype=np.uint8)
            tokens[row, : len(own)] = own
        found = torch.from_numpy(tokens)
        return Batch(tokens=found, targets=torch.from_numpy(classes), mask=found != PAD)


def make(setting: Setting) -> Texts:
    """Return the reviews.

    Raises:
        ValueError: no archive, or another one; or the vocabulary is too small.
    """
    if setting.vocab <= PAD:
        raise ValueError(f"imdb: vocab {setting.vocab}; at least {PAD + 1}")
    file = userfile.require(setting.data_path, "imdb", NAME, ADVICE)
    userfile.check(file, NAME, "md5", MD5)
    return Texts(setting=setting, reviews=read(file))


@functools.cache
def read(file: Path) -> Reviews:
    """Return the reviews of an archive by split."""
    found: dict[str, list[tuple[bytes, int]]] = {"train": [], "validation": [], "test": []}
    with tarfile.open(file, "r:gz") as archive:
        for member in archive:
            match = _MEMBER.fullmatch(member.name)
            stream = archive.extractfile(member) if match else None
            if match is None or stream is None:
                continue
            split = match[1]
            if split == "train" and zlib.crc32(member.name.encode()) % 10 == 0:
                split = "validation"
            found[split].append((stream.read(LONGEST), int(match[2] == "pos")))
    return {split: tuple(part) for split, part in found.items()}


def baselines(_setting: Setting) -> Mapping[str, float]:
    """Return what guessing gives; both classes are equally many."""
    return {"chance": 0.5}


TASK = Task(
    make=make,
    kind="sequence",
    score="accuracy",
    tally=scoring.count_classes,
    figures=scoring.class_accuracy,
    baselines=baselines,
    floor=0.6,
    stop=None,
    offline=False,
    defaults={
        "seq_len": 1024,
        "batch": 32,
        "d_model": 256,
        "heads": 4,
        "d_ff": 1024,
        "layers": 4,
        "vocab": 257,
        "causal": False,
    },
    options={"positions": "learned"},
    training={"steps": 20000, "learning_rates": (3e-4, 1e-3), "eval_every": 500},
)
