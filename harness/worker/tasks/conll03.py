"""CoNLL-2003: find persons, organisations, places and other names in news, from the user's copy.

Definition (Tjong Kim Sang and De Meulder 2003): each word gets O or B/I of four types; sequences
are consecutive sentences of a document, as many words as fit L. Words are lower-cased and hashed to
V - 2 numbers, with one of them for padding and one for the border of sentences: a word-level task
without pre-trained vectors, so that published figures (F1 above 0.9) are out of reach; compare
within a run. Give `eng.train` as `data.path`, with `eng.testa` and `eng.testb` beside it (bound to
the Reuters licence, so never brought along); files are refused unless they have the published
numbers of words. Both markings of the files in circulation (IOB1 and IOB2) are read.

Score: F1 of exact spans, micro-averaged. Chance: 0. Splits: those of the shared task.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.worker import scoring, userfile
from harness.worker.task import IGNORED, Batch, Setting, Task

NAME, ADVICE = "eng.train", "with eng.testa and eng.testb beside it"
FILES = {"train": "eng.train", "validation": "eng.testa", "test": "eng.testb"}
WORDS = {"train": 203_621, "validation": 51_362, "test": 46_435}  # as published
TYPES = ("PER", "ORG", "LOC", "MISC")
PAD, BORDER, FIRST = 0, 1, 2
Sentence = tuple[tuple[str, int], ...]  # words and labels
Documents = tuple[tuple[Sentence, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Documents by split."""

    setting: Setting
    parts: Mapping[str, Documents]

    def draw(self, split: str, count: int, generator: np.random.Generator) -> Batch:
        """Return stretches of documents, each begun at a random sentence."""
        documents, length = self.parts[split], self.setting.seq_len
        tokens = np.full((count, length), PAD, dtype=np.int64)
        targets = np.full((count, length), IGNORED, dtype=np.int64)
        for row, which in enumerate(generator.integers(0, len(documents), count)):
            document = documents[which]
            place = 0
            for sentence in document[int(generator.integers(0, len(document))) :]:
                if place and place + len(sentence) + 1 > length:
                    break
                for word, label in sentence[: length - place - 1]:
                    tokens[row, place], targets[row, place] = self._number(word), label
                    place += 1
                tokens[row, place] = BORDER
                place += 1
                if place >= length:
                    break
        found = torch.from_numpy(tokens)
        return Batch(tokens=found, targets=torch.from_numpy(targets), mask=found != PAD)

    def _number(self, word: str) -> int:
        return FIRST + zlib.crc32(word.lower().encode()) % (self.setting.vocab - FIRST)


def make(setting: Setting) -> News:
    """Return the documents.

    Raises:
        ValueError: a file is missing or not what it claims, or the vocabulary is too small.
    """
    if setting.vocab < FIRST + 1000 or setting.seq_len < 8:
        raise ValueError(f"conll03: vocab {setting.vocab}, seq_len {setting.seq_len}; 1002 and 8")
    file = userfile.require(setting.data_path, "conll03", NAME, ADVICE)
    parts: dict[str, Documents] = {}
    for split, name in FILES.items():
        beside = file if split == "train" else file.with_name(name)
        if not beside.is_file():
            raise ValueError(f"conll03: {name} is not beside {file.name}")
        parts[split] = read(beside)
        words = sum(len(sentence) for document in parts[split] for sentence in document)
        if words != WORDS[split]:
            raise ValueError(f"conll03: {beside.name} has {words:,} words, not {WORDS[split]:,}")
    return News(setting=setting, parts=parts)


@functools.cache
def read(file: Path) -> Documents:
    """Return the documents of a file in the shared task's format: word first, label last."""
    documents: list[list[Sentence]] = [[]]
    for lines in _blocks(file.read_text(encoding="utf-8", errors="replace")):
        if lines[0][0] == "-DOCSTART-":
            documents.append([])
            continue
        words, marks = [line[0] for line in lines], [line[-1] for line in lines]
        documents[-1].append(tuple(zip(words, labels(marks), strict=True)))
    return tuple(tuple(document) for document in documents if document)


def labels(marks: list[str]) -> list[int]:
    """Return the numbers of B-I-O labels; IOB1 marks become IOB2."""
    found: list[int] = []
    before = "O"
    for mark in marks:
        border, _, kind = mark.partition("-")
        if kind not in TYPES:
            found.append(0)
        else:
            begins = border == "B" or before.partition("-")[2] != kind
            found.append(1 + 2 * TYPES.index(kind) + (not begins))
        before = mark
    return found


def tally(logits: Tensor, batch: Batch) -> dict[str, float]:
    """Count spans that are asked, found and right, and tokens of mentions that are right."""
    return scoring.count_spans(logits, batch, len(TYPES))


def baselines(_setting: Setting) -> Mapping[str, float]:
    """Return F1 of "all O"; its token accuracy is 0.83, which is why tokens are not the score."""
    return {"chance": 0.0}


def _blocks(text: str) -> Iterator[list[list[str]]]:
    for block in text.split("\n\n"):
        lines = [line.split() for line in block.splitlines() if line.strip()]
        if lines:
            yield lines


TASK = Task(
    make=make,
    kind="tokens",
    score="span F1",
    tally=tally,
    figures=scoring.span_f1,
    baselines=baselines,
    floor=0.4,
    stop=None,
    offline=False,
    defaults={
        "seq_len": 256,
        "batch": 32,
        "d_model": 128,
        "heads": 4,
        "d_ff": 256,
        "layers": 2,
        "vocab": 16384,
        "causal": False,
    },
    options={"positions": "learned", "conv": 3},
    training={"steps": 4000, "learning_rates": (1e-3, 3e-3), "eval_every": 200},
)
