"""Byte language model: the next byte of real text, and of text that stood far before.

Definition: windows of L bytes of the standard library's sources, or of enwik8 by `data.path`; the
network is asked for every next byte. The last quarter of each window repeats L/4 bytes of its first
half, at a distance of L/2 to 3 L/4: whoever sees so far can copy them.

Vocabulary: 256 bytes. Chance: 8 bits; printed beside it: the entropy of single bytes, gzip and xz
of the test text. Score: bits per byte of the text that does not repeat; `far` is the bits per byte
of the repeat after its first 8 bytes, by which it can be recognised. Splits: 90, 5 and 5 % of the
text, in its order. On small budgets the score rewards a good sense of the neighbourhood, so that a
window may beat full attention: it is a reality check; `far` tells what is seen far away.

enwik8 (the first 10^8 bytes of the English Wikipedia of 3 March 2006, mattmahoney.net/dc/text.html)
is refused unless its size and SHA-256 are right.
"""

from __future__ import annotations

import functools
import gzip
import lzma
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from harness.worker import corpus, scoring, userfile
from harness.worker.task import Batch, Setting, Task

ENWIK8_BYTES = 100_000_000
ENWIK8_SHA256 = "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8"
ENDS = {"train": (0.0, 0.9), "validation": (0.9, 0.95), "test": (0.95, 1.0)}  # shares of the text
LEAD = 8  # bytes of a repeat that are not counted as far: by them it is recognised
COMPRESSED = 1 << 20  # bytes of the test text that gzip and xz are tried on


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Windows of a text, each with a repeat at its end."""

    setting: Setting
    text: np.ndarray  # uint8

    def draw(self, split: str, count: int, generator: np.random.Generator) -> Batch:
        """Return windows at random places of a split."""
        length = self.setting.seq_len
        part = self.part(split)
        starts = generator.integers(0, len(part) - length, count)
        window = part[starts[:, None] + np.arange(length + 1)].astype(np.int64)
        span = length // 4
        sources = generator.integers(0, span + 1, count)
        window[:, -span:] = window[np.arange(count)[:, None], sources[:, None] + np.arange(span)]
        kinds = np.zeros((count, length), dtype=np.int64)
        kinds[:, -span:] = scoring.LEAD
        kinds[:, LEAD - span :] = scoring.FAR
        return Batch(
            tokens=torch.from_numpy(window[:, :-1].copy()),
            targets=torch.from_numpy(window[:, 1:].copy()),
            notes={"kinds": torch.from_numpy(kinds)},
        )

    def part(self, split: str) -> np.ndarray:
        """Return the bytes of a split."""
        begin, end = (int(share * len(self.text)) for share in ENDS[split])
        return self.text[begin:end]


def make(setting: Setting) -> Windows:
    """Return the windows.

    Raises:
        ValueError: the length is no multiple of 4 or too short, the vocabulary holds no byte, the
            text is too short, or `data.path` is not enwik8.
    """
    if setting.seq_len % 4 or setting.seq_len < 8 * LEAD:
        raise ValueError(
            f"byte_lm: seq_len {setting.seq_len}; a multiple of 4, at least {8 * LEAD}"
        )
    if setting.vocab < corpus.VOCAB:
        raise ValueError(f"byte_lm: vocab {setting.vocab}; bytes need {corpus.VOCAB}")
    found = Windows(setting=setting, text=_text(setting.data_path))
    if len(found.part("test")) <= 2 * setting.seq_len:
        raise ValueError(f"byte_lm: the text is too short for windows of {setting.seq_len} bytes")
    return found


def baselines(setting: Setting) -> Mapping[str, float]:
    """Return the bits per byte of guessing, of single bytes, of gzip and of xz."""
    return _baselines(setting.data_path)


@functools.cache
def _baselines(path: str | None) -> Mapping[str, float]:
    windows = Windows(setting=Setting(seq_len=0, vocab=0), text=_text(path))
    counts = np.bincount(windows.part("train"), minlength=corpus.VOCAB) + 1.0
    test = windows.part("test")
    unigram = -np.log2(counts / counts.sum())[test].mean()
    sample = test[:COMPRESSED].tobytes()
    return {
        "chance": math.log2(corpus.VOCAB),
        "single bytes": float(unigram),
        "gzip": 8 * len(gzip.compress(sample, 9)) / len(sample),
        "xz": 8 * len(lzma.compress(sample)) / len(sample),
    }


def _text(path: str | None) -> np.ndarray:
    if path is not None:
        userfile.check(Path(path), "enwik8", "sha256", ENWIK8_SHA256, ENWIK8_BYTES)
    return corpus.load(path).tokens.numpy()


TASK = Task(
    make=make,
    kind="tokens",
    score="bits per byte",
    tally=scoring.count_bits,
    figures=scoring.bits_per_byte,
    baselines=baselines,
    floor=3.6,
    stop=None,
    better="lower",
    defaults={
        "seq_len": 128,
        "batch": 8,
        "d_model": 64,
        "heads": 2,
        "d_ff": 128,
        "layers": 2,
        "vocab": 256,
        "causal": True,
    },
    options={"positions": "learned", "conv": 3, "init_std": 0.08},
    training={"steps": 400, "learning_rates": (5e-3,), "eval_every": 50},
)
