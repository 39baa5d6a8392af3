"""Cross-entropy over sections of the sequence: the logits of all tokens never exist together."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

IGNORED = -100  # target of a position that does not count, as in torch


def sectioned_cross_entropy(
    hidden: Float[Tensor, "b t w"],
    head: nn.Module,
    targets: Int[Tensor, "b t"],
    *,
    section: int | None = None,
    ignore_index: int = IGNORED,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of `head(hidden)` over the positions that count.

    `head` maps states to logits. It is applied to `section` tokens of each sequence at a time, in
    the backward once more, section by section: `b section V` numbers at a time and never `b t V`
    (Kitaev et al. 2020, section 3). The softmax is computed in float32 at least. With no position
    that counts the loss is zero.

    Raises:
        ValueError: the section is empty.
    """
    if section is not None and section < 1:
        raise ValueError(f"section: {section}; a section has at least one token")

    def total(hidden: Tensor, targets: Tensor) -> Tensor:
        logits = head(hidden).flatten(0, 1)
        return functional.cross_entropy(
            logits.to(torch.promote_types(logits.dtype, torch.float32)),
            targets.flatten(),
            reduction="sum",
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
        )

    count = (targets != ignore_index).sum().clamp(min=1)
    if section is None or section >= hidden.shape[1]:
        return total(hidden, targets) / count
    parts = zip(hidden.split(section, 1), targets.split(section, 1), strict=True)
    if torch.is_grad_enabled():
        totals = [
            checkpoint(total, *part, use_reentrant=False, preserve_rng_state=False)
            for part in parts
        ]
    else:
        totals = [total(*part) for part in parts]
    return torch.stack(totals).sum() / count
