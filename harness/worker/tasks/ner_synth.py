"""Synthetic entity recognition: what a name is was said far before, and differs every time.

Definition (own design): the first third of a sequence holds 8 definitions `DEF name TYPE`, each
name of one of four types drawn for this sequence alone, among filler words. The rest holds
mentions: a name and up to two suffix words, 70 % of defined names (labelled B-type, I-type ...),
30 % of names that were not defined (labelled O, suffixes too). Definitions are not asked.

Vocabulary: 102 words (padding, DEF, 4 types, 40 fillers, 48 names, 8 suffixes); 9 classes. Score:
F1 of exact spans, micro-averaged (Tjong Kim Sang and De Meulder 2003): a span counts if its ends
and its type are right. Chance: 0. "All O" has F1 0 at a token accuracy above 0.6, which is why
tokens are not the score; F1 of "every name is an entity of a random type" is computed on test
examples. `mentions` is the accuracy on tokens of mentions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.worker import scoring
from harness.worker.task import IGNORED, Batch, Setting, Task, stream

KINDS, FILLERS, NAMES, SUFFIXES, DEFINED, UNDEFINED = 4, 40, 48, 8, 8, 8
DEF, TYPE, FILLER = 1, 2, 2 + KINDS
NAME, SUFFIX = FILLER + FILLERS, FILLER + FILLERS + NAMES
VOCAB = SUFFIX + SUFFIXES  # 102
KNOWN = 0.7  # share of mentions whose name was defined
SHORTEST = 9 * DEFINED  # three slots a definition in the first third


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Definitions, then mentions."""

    setting: Setting

    def draw(self, _split: str, count: int, generator: np.random.Generator) -> Batch:
        """Return texts; their space is too large for any to occur in two splits."""
        length = self.setting.seq_len
        tokens = FILLER + generator.integers(0, FILLERS, (count, length))
        targets = np.zeros((count, length), dtype=np.int64)
        for row in range(count):
            self._write(tokens[row], targets[row], generator)
        return Batch(tokens=torch.from_numpy(tokens), targets=torch.from_numpy(targets))

    def _write(self, tokens: np.ndarray, targets: np.ndarray, draw: np.random.Generator) -> None:
        third = len(tokens) // 3
        names = NAME + draw.permutation(NAMES)[: DEFINED + UNDEFINED]
        kinds = draw.integers(0, KINDS, DEFINED)
        for i, slot in enumerate(draw.permutation(third // 3)[:DEFINED]):
            at = slice(3 * slot, 3 * slot + 3)
            tokens[at] = (DEF, names[i], TYPE + kinds[i])
            targets[at] = IGNORED
        place = third + int(draw.integers(0, 3))
        while place + 3 <= len(tokens):
            suffixes = int(draw.integers(0, 3))
            known = draw.random() < KNOWN
            who = int(draw.integers(0, DEFINED if known else UNDEFINED))
            tokens[place] = names[who if known else DEFINED + who]
            tail = slice(place + 1, place + 1 + suffixes)
            tokens[tail] = SUFFIX + draw.integers(0, SUFFIXES, suffixes)
            if known:
                targets[place], targets[tail] = 1 + 2 * kinds[who], 2 + 2 * kinds[who]
            place += 1 + suffixes + int(draw.integers(1, 4))


def make(setting: Setting) -> Texts:
    """Return the texts.

    Raises:
        ValueError: the length does not hold the definitions, or the vocabulary the words.
    """
    if setting.seq_len < SHORTEST:
        raise ValueError(f"ner_synth: seq_len {setting.seq_len}; at least {SHORTEST}")
    if setting.vocab < VOCAB:
        raise ValueError(f"ner_synth: vocab {setting.vocab}; it has {VOCAB} words")
    return Texts(setting=setting)


def tally(logits: Tensor, batch: Batch) -> dict[str, float]:
    """Count spans that are asked, found and right, and tokens of mentions that are right."""
    return scoring.count_spans(logits, batch, KINDS)


def baselines(setting: Setting) -> Mapping[str, float]:
    """Return F1 of "all O", and of "every name is an entity of a random type" on 64 texts."""
    generator = stream("test", 0, 1)
    batch = make(setting).draw("test", 64, generator)
    tokens = batch.tokens.numpy()
    named = (tokens >= NAME) & (tokens < SUFFIX)
    kinds = np.where(named, generator.integers(0, KINDS, tokens.shape), -1)
    labels = np.where(named, 1 + 2 * kinds, 0)
    for at in range(1, tokens.shape[1]):
        goes_on = (tokens[:, at] >= SUFFIX) & (labels[:, at - 1] > 0)
        labels[:, at] = np.where(goes_on, (labels[:, at - 1] + 1) // 2 * 2, labels[:, at])
    logits = torch.nn.functional.one_hot(torch.from_numpy(labels), 1 + 2 * KINDS)
    guess = scoring.span_f1(scoring.count_spans(logits, batch, KINDS))["score"]
    return {"chance": 0.0, "every name, random type": guess}


TASK = Task(
    make=make,
    kind="tokens",
    score="span F1",
    tally=tally,
    figures=scoring.span_f1,
    baselines=baselines,
    floor=0.9,
    stop=0.99,
    defaults={
        "seq_len": 96,
        "batch": 32,
        "d_model": 64,
        "heads": 2,
        "d_ff": 128,
        "layers": 2,
        "vocab": 102,
        "causal": False,
    },
    options={"positions": "learned", "conv": 3, "init_std": 0.08},
    training={"steps": 600, "learning_rates": (1e-2,), "eval_every": 50},
)
