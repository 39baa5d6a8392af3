"""Proof before timing: values and gradients of the asked impl against the float64 reference.

The mechanism, not the whole network, is proven: in another precision the buckets of a hash would
fall differently and two networks could not be compared. The inputs are seeded normal vectors in the
cell's dtype; the reference sees the same numbers in float64. At full length the reference is
computed for a sample of query rows (`Attention.rows`), so that the proof of exact attention costs
O(rows * N); the gradient of a loss over these rows is checked for every query, key and value.
A mechanism that cannot give rows alone is proven at a shorter length, which the record names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness.schema import Cell
from harness.worker.failure import WrongError
from models.variant import Attention, Variant

ROWS = 128  # query rows that are compared where a sequence is longer
UNSAMPLED_LENGTH = 1024  # longest proof of a mechanism that has no cheap rows
# Relative Frobenius error of softmax attention in this precision, with a margin of about ten.
TOLERANCE = {"float64": 1e-9, "float32": 2e-5, "float16": 5e-3, "bfloat16": 4e-2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was compared and how far it was off, as relative Frobenius errors."""

    seq_len: int
    rows: int
    tolerance: float
    values: float
    gradients: Mapping[str, float]  # by input; empty where the phase needs none

    @property
    def worst(self) -> float:
        """The largest error."""
        return max(self.values, *self.gradients.values(), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A mechanism as asked and its float64 reference, with the same weights."""

    cell: Cell
    asked: Attention
    reference: Attention
    seq_len: int  # at which both are compared

    def draw(self, generator: torch.Generator) -> list[Tensor]:
        """Return q, k and v in the cell's dtype, on its device."""
        cell = self.cell
        narrow = self.asked.kv_heads or cell.heads
        shapes = [
            (cell.batch, heads, self.seq_len, cell.d_model // cell.heads)
            for heads in (cell.heads, narrow, narrow)
        ]
        return [_normal(shape, generator, cell) for shape in shapes]


def prove(cell: Cell, variant: Variant, options: Any, impl: str, *, seed: int) -> Proof:
    """Compare the impl with the reference at the cell's shape.

    Args:
        cell: gives shape, dtype, device and whether gradients are needed.
        variant: the mechanism.
        options: of the mechanism.
        impl: the one that will be timed, `auto` already resolved.
        seed: of inputs and sampled rows; a second proof takes another.

    Raises:
        WrongError: an error exceeds the tolerance or is not finite.
    """
    pair = make_pair(cell, variant, options, impl)
    generator = torch.Generator().manual_seed(seed)
    inputs = pair.draw(generator)
    rows = sample_rows(pair.seq_len, generator).to(cell.device)
    head_dim = cell.d_model // cell.heads
    weights = _normal((cell.batch, cell.heads, len(rows), head_dim), generator, cell)

    gradients = cell.phase == "train_step"
    got = _run(pair.asked, inputs, rows, weights, gradients=gradients, sampled=False)
    exact = [x.double() for x in inputs]
    wanted = _run(pair.reference, exact, rows, weights.double(), gradients=gradients, sampled=True)
    errors = relative_errors(got, wanted)
    proof = Proof(
        seq_len=pair.seq_len,
        rows=len(rows),
        tolerance=TOLERANCE[cell.dtype] * variant.tolerance,
        values=errors.pop("values"),
        gradients=errors,
    )
    _judge(proof, f"{cell.attention}.{impl}")
    return proof


def make_pair(cell: Cell, variant: Variant, options: Any, impl: str) -> Pair:
    """Build a mechanism at a cell's shape twice: as asked, and as the reference in float64."""
    head_dim = cell.d_model // cell.heads
    asked, reference = (
        variant.build(
            options,
            causal=cell.causal,
            impl=which,
            head_dim=head_dim,
            heads=cell.heads,
            max_len=cell.seq_len,
        ).to(cell.device, getattr(torch, cell.dtype))
        for which in (impl, "reference")
    )
    reference.load_state_dict(asked.state_dict())
    # Dropout is off in both: two draws of it could not be compared.
    asked, reference = asked.eval(), reference.eval().double()
    seq_len = _length(cell.seq_len, reference)
    return Pair(cell=cell, asked=asked, reference=reference, seq_len=seq_len)


def _length(seq_len: int, reference: Attention) -> int:
    cheap = type(reference).rows is not Attention.rows
    return seq_len if cheap else min(seq_len, UNSAMPLED_LENGTH)


def _normal(shape: tuple[int, ...], generator: torch.Generator, cell: Cell) -> Tensor:
    return torch.randn(shape, generator=generator).to(cell.device, getattr(torch, cell.dtype))


def sample_rows(seq_len: int, generator: torch.Generator) -> Tensor:
    """Return the positions that are compared: the first, the last and some between."""
    if seq_len <= ROWS:
        return torch.arange(seq_len)
    inner = torch.randperm(seq_len - 2, generator=generator)[: ROWS - 2] + 1
    return torch.cat([torch.tensor([0]), inner.sort().values, torch.tensor([seq_len - 1])])


def _run(
    attention: Attention,
    inputs: list[Tensor],
    rows: Tensor,
    weights: Tensor,
    *,
    gradients: bool,
    sampled: bool,
) -> dict[str, Tensor]:
    q, k, v = (x.detach().requires_grad_(gradients) for x in inputs)
    with torch.set_grad_enabled(gradients):
        output = attention.rows(q, k, v, rows) if sampled else attention(q, k, v)[:, :, rows]
    found = {"values": output.detach()}
    if gradients:
        taken = {"q": q, "v": v} if attention.shared_qk else {"q": q, "k": k, "v": v}
        # A mechanism that ignores an input, as a mean ignores queries, has zero gradient there.
        gradients_of = torch.autograd.grad(
            output, list(taken.values()), weights, allow_unused=True, materialize_grads=True
        )
        found |= dict(zip(taken, gradients_of, strict=True))
    return found


def relative_errors(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, float]:
    """Return relative Frobenius errors.

    A gradient that is zero by its nature, as that of a query with one key, has no relative error:
    each norm counts as at least a thousandth of the largest.
    """
    norms = {name: exact.norm().item() for name, exact in wanted.items()}
    floor = max(max(norms.values()) * 1e-3, torch.finfo(torch.float64).tiny)
    return {
        name: (got[name].double() - exact).norm().item() / max(norms[name], floor)
        for name, exact in wanted.items()
    }


def _judge(proof: Proof, name: str) -> None:
    errors = {"values": proof.values}
    errors |= {f"gradient of {name}": error for name, error in proof.gradients.items()}
    for what, error in errors.items():
        if not error <= proof.tolerance:  # catches NaN too
            raise WrongError(
                f"{name}: {what} off by {error:.2g} (relative Frobenius error against the float64 "
                f"reference at {proof.seq_len} tokens; allowed {proof.tolerance:.2g})"
            )
