"""The Triton kernels of LSH attention: in Triton's interpreter on a CPU, or on a CUDA device.

Elsewhere nothing here is collected: `test_triton.py` beside this folder runs it in a process whose
environment says TRITON_INTERPRET=1 before triton is imported, and `.ci/gpu` on a device.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from models.kernels.lsh_definition import attend_rows
from models.kernels.lsh_hash import hash_vectors
from models.kernels.lsh_options import LSHOptions
from models.kernels.lsh_plan import LSHPlan, draw_rotations, sorted_by, whole_sequence

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
ON_DEVICE = torch.cuda.is_available() and not INTERPRETED
DEVICE = "cuda" if ON_DEVICE else "cpu"
collect_ignore_glob = [] if INTERPRETED or ON_DEVICE else ["test_*.py"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A call of LSH attention by a plan of its own, and a loss: the output times `weight`."""

    length: int = 70
    dim: int = 32
    batch: int = 1
    heads: int = 1
    dtype: torch.dtype = torch.float32
    causal: bool = True
    masked: bool = False
    scale: float = 1.0
    dropout: float = 0.0
    chunk: int = 32
    hashes: int = 2
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def rules(self) -> LSHOptions:
        """The options of the mechanism."""
        return LSHOptions(chunk=self.chunk, hashes=self.hashes, **self.options)

    def draw(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None, LSHPlan]:
        """Return q, v, weight, mask and the plan by PyTorch's hash and sort."""
        shape = (self.batch, self.heads, self.length, self.dim)
        generator = torch.Generator().manual_seed(0)
        q, v, weight = (torch.randn(shape, generator=generator) for _ in range(3))
        mask = torch.rand(self.batch, self.length, generator=generator) > 0.3
        rules, factors = self.rules, self.rules.factors(self.length)
        rotations = draw_rotations(
            heads=self.heads, dim=self.dim, rounds=self.hashes, factors=factors, seed=1
        )
        if rules.hashed(self.length):
            bucket = hash_vectors(q.to(self.dtype), rotations, factors)
            if self.masked:
                bucket = bucket.masked_fill(~mask[:, None, None, :], math.prod(factors))
            plan = sorted_by(bucket)
        else:
            plan = whole_sequence(q)
        if self.masked:
            weight = weight * mask[:, None, :, None]
        plan = LSHPlan(
            order=plan.order.to(DEVICE), place=plan.place.to(DEVICE), bucket=plan.bucket.to(DEVICE)
        )
        q, v, weight = (x.to(DEVICE, self.dtype) for x in (q, v, weight))
        return q, v, weight, mask.to(DEVICE) if self.masked else None, plan

    def kernels(self, q: Tensor, v: Tensor, plan: LSHPlan, mask: Tensor | None) -> Tensor:
        """Attend by the kernels."""
        from models.kernels.triton_attention import attend  # noqa: PLC0415 - imports triton

        how = {"causal": self.causal, "scale": self.scale, "dropout": self.dropout}
        return attend(q, v, plan, mask, self.rules, **how)

    def definition(self, q: Tensor, v: Tensor, plan: LSHPlan, mask: Tensor | None) -> Tensor:
        """Attend by the definition."""
        rows = torch.arange(self.length, device=q.device)
        how = {"causal": self.causal, "scale": self.scale, "dropout": 0.0}
        return attend_rows(q, v, rows, plan, mask, self.rules, **how)

    def run(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return output and gradients of kernels, on poisoned memory, and of the definition."""
        q, v, weight, mask, plan = self.draw()
        with poisoned():
            found = differentiate(self.kernels, q, v, weight, plan, mask)
        return found, differentiate(
            self.definition, q.double(), v.double(), weight.double(), plan, mask
        )

    def but(self, **changes: Any) -> Problem:
        """Return the problem with fields replaced."""
        return replace(self, **changes)


def differentiate(
    attend: Callable[..., Tensor],
    q: Tensor,
    v: Tensor,
    weight: Tensor,
    plan: LSHPlan,
    mask: Tensor | None,
) -> list[Tensor]:
    """Return the output, zero at padding, and its gradients by q and v."""
    q, v = q.detach().requires_grad_(), v.detach().requires_grad_()
    out = attend(q, v, plan, mask)
    if mask is not None:
        out = out.masked_fill(~mask[:, None, :, None], 0)
    return [out.detach(), *torch.autograd.grad(out, (q, v), weight)]


@contextmanager
def poisoned() -> Iterator[None]:
    """Fill memory that is allocated inside with NaN, or with the largest integer."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        assert torch.empty(1, device=DEVICE).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def errors(found: list[Tensor], wanted: list[Tensor]) -> list[float]:
    """Return the relative Frobenius errors; NaN counts as infinite."""
    pairs = zip(found, wanted, strict=True)
    ratios = [((a.double() - b).norm() / b.norm().clamp(min=1e-30)).item() for a, b in pairs]
    return [float("inf") if math.isnan(ratio) else ratio for ratio in ratios]


@pytest.fixture
def problem() -> Problem:
    """A small problem, to be changed by `but`."""
    return Problem()
