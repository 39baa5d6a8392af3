"""The file that an own variant begins with: it works as it is printed."""

from __future__ import annotations

import keyword
import re

_TEMPLATE = '''"""@NAME@: softmax attention that fades with distance. O(N^2)."""

import math
from dataclasses import dataclass

import torch

from models.variant import Attention, Cost, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class @CLASS@Options:
    """What a suite may set under `options`; every field has a default."""

    slope: float = 0.1  # subtracted from a score for each token of distance


class @CLASS@(Attention):
    """`softmax(Q K^T / sqrt(d) - slope |i - j|) V`, and its source.

    `reference` is the specification, as plain as can be; every other impl is proven against it.
    """

    def __init__(self, options, *, causal, impl, head_dim):
        super().__init__()
        self.options = options
        self.causal = causal
        self.scale = 1 / math.sqrt(head_dim)
        self.impl = impl

    def forward(self, q, k, v, mask=None):
        """Attend: q, k, v and the output are [batch, heads, time, dim].

        mask [batch, time] is true at tokens; leave it out if you do not want padded batches.
        """
        place = torch.arange(q.shape[2], device=q.device)
        allowed = place <= place[:, None] if self.causal else place >= 0
        if mask is not None:  # a query that is padding may see all, and gives zero
            allowed = allowed & mask[:, None, None, :] | ~mask[:, None, :, None]
        bias = (-self.options.slope * (place[:, None] - place).abs()).to(q.dtype)
        bias = bias.masked_fill(~allowed, -math.inf)
        attend = self._by_rows if self.impl == "reference" else self._eager
        out = attend(q, k, v, bias)
        return out if mask is None else out.masked_fill(~mask[:, None, :, None], 0)

    def _eager(self, q, k, v, bias):
        scores = q @ k.mT * self.scale + bias
        return torch.softmax(scores.float() if q.dtype.itemsize < 4 else scores, -1).to(v.dtype) @ v

    def _by_rows(self, q, k, v, bias):
        rows = []
        for i in range(q.shape[2]):
            weights = (q[:, :, i : i + 1] @ k.mT * self.scale + bias[..., i : i + 1, :]).exp()
            rows.append(weights @ v / weights.sum(-1, keepdim=True))
        return torch.cat(rows, dim=2)


def cost(options, shape, impl):
    """Say what one forward call costs; `check` holds the FLOPs against PyTorch's counter."""
    n, width = shape.seq_len, shape.batch * shape.heads * shape.head_dim
    return Cost(
        model_flops=4 * shape.pairs * width,  # of the problem: the same for every variant
        executed_flops=4 * n * n * width,  # matrix products of this impl
        compulsory_bytes=4 * n * width * shape.itemsize,  # q, k, v in, the output out
        state_bytes=3 * n * width * shape.itemsize,  # what decoding keeps: here all q, k, v
    )


VARIANT = Variant(
    module=@CLASS@,
    options=@CLASS@Options,
    impls=("eager", "reference"),  # the first is the default
    cost=cost,
    causal=True,  # can be built with causal=True
    bidirectional=True,  # and with causal=False
    exact=False,  # softmax attention over all pairs, and nothing else?
)
'''


def variant(name: str) -> str:
    """Return the text of a file for a variant of this name, which the file must have.

    Raises:
        ValueError: the name cannot be that of a Python module.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name, re.ASCII) or keyword.iskeyword(name):
        raise ValueError(
            f"{name!r} names no variant: lower-case letters, digits and '_', a letter first"
        )
    words = "".join(part.capitalize() for part in name.split("_") if part)
    title = words if words.endswith("Attention") else f"{words}Attention"
    return _TEMPLATE.replace("@NAME@", name).replace("@CLASS@", title)
