"""Scores of tasks: sums over batches of logits, and the figures that follow from them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from harness.worker.task import IGNORED, Batch


def count_tokens(logits: Tensor, batch: Batch) -> dict[str, float]:
    """Count asked tokens and sequences, and those that are answered right."""
    asked = batch.targets != IGNORED
    right = (logits.argmax(dim=-1) == batch.targets) & asked
    has = asked.any(dim=1)
    return {
        "right": right.sum().item(),
        "asked": asked.sum().item(),
        "whole": ((right == asked).all(dim=1) & has).sum().item(),
        "sequences": has.sum().item(),
    }


def token_accuracy(sums: Mapping[str, float]) -> dict[str, float]:
    """Return the share of asked tokens that are right, and of sequences without a mistake."""
    return {"score": _share(sums, "right", "asked"), "exact": _share(sums, "whole", "sequences")}


def exact_accuracy(sums: Mapping[str, float]) -> dict[str, float]:
    """Return the share of sequences without a mistake, and of asked tokens that are right."""
    return {"score": _share(sums, "whole", "sequences"), "tokens": _share(sums, "right", "asked")}


def count_classes(logits: Tensor, batch: Batch) -> dict[str, float]:
    """Count sequences, and those whose class is right."""
    right = (logits.argmax(dim=-1) == batch.targets).sum().item()
    return {"right": right, "asked": len(batch.targets)}


def class_accuracy(sums: Mapping[str, float]) -> dict[str, float]:
    """Return the share of sequences whose class is right."""
    return {"score": _share(sums, "right", "asked")}


def count_bits(logits: Tensor, batch: Batch) -> dict[str, float]:
    """Sum the bits that each asked byte costs, and those of bytes that `notes["far"]` marks."""
    nats = functional.cross_entropy(
        logits.float().flatten(0, 1), batch.targets.flatten(), reduction="none"
    ).view_as(batch.targets)
    asked = batch.targets != IGNORED
    sums = {"nats": nats[asked].sum().item(), "asked": float(asked.sum().item())}
    if (far := batch.notes.get("far")) is not None:
        marked = torch.as_tensor(far, device=asked.device) & asked
        sums |= {"far_nats": nats[marked].sum().item(), "far": float(marked.sum().item())}
    return sums


def bits_per_byte(sums: Mapping[str, float]) -> dict[str, float]:
    """Return the mean bits of an asked byte, and of a byte that repeats far ones."""
    found = {"score": _share(sums, "nats", "asked") / math.log(2)}
    if sums.get("far"):
        found["far"] = _share(sums, "far_nats", "far") / math.log(2)
    return found


def span_f1(sums: Mapping[str, float]) -> dict[str, float]:
    """Return F1 of exact spans over all of them, 0 where none is found, and mention accuracy."""
    found = sums["found"] + sums["asked"]
    return {
        "score": 2 * sums["right"] / found if found else 0.0,
        "mentions": _share(sums, "right_tokens", "mention_tokens"),
    }


def spans(labels: list[int], kinds: int) -> set[tuple[int, int, int]]:
    """Return (kind, first, end) of the spans of B-I-O labels.

    0 is O, `1 + 2 k` begins a span of kind k and `2 + 2 k` goes on with one. An I that follows
    nothing of its kind begins a span, as in the scorer of CoNLL-2000.
    """
    found: set[tuple[int, int, int]] = set()
    kind, first = -1, 0
    for place, label in enumerate([*labels, 0]):
        of, begins = (label - 1) // 2, label % 2 == 1
        if label <= 0 or label > 2 * kinds:
            of = -1
        if kind >= 0 and (of != kind or begins):
            found.add((kind, first, place))
            kind = -1
        if of >= 0 and kind < 0:
            kind, first = of, place
    return found


def _share(sums: Mapping[str, float], part: str, whole: str) -> float:
    return sums[part] / sums[whole] if sums[whole] else 0.0
