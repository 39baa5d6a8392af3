"""Scores of tasks: sums over batches of logits, and the figures that follow from them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional

from harness.worker.task import IGNORED, Batch

LEAD, FAR = 1, 2  # kinds of bytes: a repeat's beginning, and its rest


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
    """Sum the bits of bytes by `notes["kinds"]`: 0, `LEAD` (not counted) or `FAR`."""
    nats = functional.cross_entropy(
        logits.float().flatten(0, 1), batch.targets.flatten(), reduction="none"
    ).view_as(batch.targets)
    kinds = batch.notes["kinds"].to(nats.device)
    sums: dict[str, float] = {}
    for name, kind in (("own", 0), ("far", FAR)):
        sums[f"{name}_nats"] = nats[kinds == kind].sum().item()
        sums[name] = float((kinds == kind).sum().item())
    return sums


def bits_per_byte(sums: Mapping[str, float]) -> dict[str, float]:
    """Return the mean bits of a byte that does not repeat, and of one that repeats a far one."""
    own, far = (_share(sums, f"{name}_nats", name) / math.log(2) for name in ("own", "far"))
    return {"score": own, "far": far}


def count_spans(logits: Tensor, batch: Batch, kinds: int) -> dict[str, float]:
    """Count spans that are asked, found and right, and tokens of mentions that are right.

    What is not asked is O on both sides.
    """
    asked = batch.targets != IGNORED
    answers = logits[..., : 1 + 2 * kinds].argmax(dim=-1).masked_fill(~asked, 0)
    wanted = batch.targets.masked_fill(~asked, 0)
    sums: dict[str, float] = {"right": 0.0, "found": 0.0, "asked": 0.0}
    for mine, true in zip(answers.tolist(), wanted.tolist(), strict=True):
        found, expected = spans(mine, kinds), spans(true, kinds)
        sums["right"] += len(found & expected)
        sums["found"] += len(found)
        sums["asked"] += len(expected)
    mentioned = wanted > 0
    sums["right_tokens"] = ((answers == wanted) & mentioned).sum().item()
    sums["mention_tokens"] = mentioned.sum().item()
    return sums


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
