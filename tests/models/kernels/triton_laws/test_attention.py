"""Laws of the attention kernels: the definition in float64, dropout, bits, strides."""

from __future__ import annotations

import pytest
import torch

from models.kernels.lsh_plan import LSHPlan
from tests.models.kernels.triton_laws.conftest import (
    DEVICE,
    ON_DEVICE,
    Problem,
    differentiate,
    errors,
    poisoned,
)

# Relative Frobenius errors of output and gradients. On a device exp2 and rsqrt are approximate.
FLOAT32 = 4e-6 if ON_DEVICE else 1e-6
HALF = {torch.float16: 2e-3, torch.bfloat16: 1.5e-2}
HALVES = [torch.float16, torch.bfloat16] if ON_DEVICE else [torch.float16]
LONG = 20 if ON_DEVICE else 1  # how many times longer sequences are than the interpreter can bear

CASES = {
    "causal": {"batch": 2},
    "bidirectional": {"causal": False, "heads": 2},
    "causal, padded": {"masked": True, "batch": 2},
    "bidirectional, padded": {"masked": True, "causal": False},
    "chunks before and after": {"causal": False, "options": {"after": 1}, "length": 130},
    "chunks after": {"causal": False, "options": {"before": 0, "after": 1}, "masked": True},
    "own chunk": {"options": {"before": 0}},
    "two chunks before": {"options": {"before": 2}, "length": 130},
    "own bucket": {"options": {"same_bucket": True, "buckets": 4}},
    "once": {"options": {"count_once": True}, "hashes": 3, "length": 64},
    "own bucket, once": {
        "options": {"count_once": True, "same_bucket": True},
        "masked": True,
        "length": 64,
    },
    "strict": {"options": {"strict": True, "buckets": 4}},
    "strict, once, padded": {
        "options": {"strict": True, "buckets": 4, "count_once": True},
        "masked": True,
        "length": 64,
    },
    "scaled": {"scale": 0.25},
    "a chunk of 64": {"chunk": 64, "dim": 64, "length": 150},
    "a chunk of 64, both ways": {"chunk": 64, "causal": False, "options": {"after": 1}},
    "a chunk of 128": {"chunk": 128, "length": 140, "hashes": 1},
    "128 dimensions": {"dim": 128, "hashes": 1},
    "128 dimensions, chunk of 128": {"dim": 128, "chunk": 128, "length": 129, "hashes": 1},
    "less than a chunk": {"length": 20, "hashes": 1, "masked": True},
    "a token more than a chunk": {"length": 33},
}
cases = pytest.mark.parametrize("changes", CASES.values(), ids=CASES.keys())


def longer(problem: Problem, changes: dict) -> Problem:
    problem = problem.but(**changes)
    long = problem.length * LONG if problem.length > problem.chunk else problem.length
    return problem.but(length=long)


@cases
def test_kernels_are_the_definition_on_poisoned_memory(problem: Problem, changes: dict) -> None:
    problem = longer(problem, changes)
    assert max(errors(*problem.run())) <= FLOAT32


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("dim", [32, 64, 128] if ON_DEVICE else [64])
@pytest.mark.parametrize("chunk", [32, 64, 128] if ON_DEVICE else [64])
def test_half_precision_errs_by_its_rounding(
    problem: Problem, dtype: torch.dtype, dim: int, chunk: int
) -> None:
    problem = problem.but(dtype=dtype, dim=dim, chunk=chunk, length=70 * LONG, scale=0.5)
    assert max(errors(*problem.run())) <= HALF[dtype]


def test_the_backward_repeats_bitwise(problem: Problem) -> None:
    problem = problem.but(length=70 * LONG, hashes=3, causal=False)
    q, v, weight, mask, plan = problem.draw()
    first, second = (differentiate(problem.kernels, q, v, weight, plan, mask) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_who_meets_no_key_keeps_its_value_and_gives_it_the_gradient(problem: Problem) -> None:
    q, v, weight, _, plan = problem.but(length=1, hashes=1).draw()
    with poisoned():
        out, dq, dv = differentiate(problem.kernels, q, v, weight, plan, None)
    assert torch.equal(out, v)
    assert torch.equal(dv, weight)
    assert torch.equal(dq, torch.zeros_like(q))


def test_any_strides_give_the_same(problem: Problem) -> None:
    problem = problem.but(heads=2, batch=2, hashes=1, length=40)
    q, v, weight, mask, plan = problem.draw()
    wanted = differentiate(problem.kernels, q, v, weight, plan, mask)
    heads_last = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, v, weight)]
    sliced = [torch.stack([x, x], dim=-2).flatten(-2)[..., : problem.dim] for x in (q, v, weight)]
    transposed = [x.mT.contiguous().mT for x in (q, v, weight)]
    for q, v, weight in (heads_last, sliced, transposed):
        found = differentiate(problem.kernels, q, v, weight, plan, mask)
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_large_scores_lose_nothing(problem: Problem) -> None:
    # Scores of a few hundred: a log-sum-exp of that size would have lost the weights of rounds.
    found, wanted = problem.but(scale=30.0, length=100).run()
    assert max(errors(found, wanted)) <= 20 * FLOAT32


def kept_weights(problem: Problem) -> torch.Tensor:
    """Return what dropout keeps of the weights [t, t], by attending to the unit vectors."""
    q, _, _, mask, plan = problem.draw()
    units = torch.eye(problem.length, device=DEVICE).split(problem.dim, dim=1)
    columns = []
    for unit in units:
        v = torch.zeros_like(q)
        v[0, 0, :, : unit.shape[1]] = unit
        torch.manual_seed(7)
        columns.append(problem.kernels(q, v, plan, mask)[0, 0, :, : unit.shape[1]])
    return torch.cat(columns, dim=1)


def test_dropout_drops_its_share_and_the_backward_sees_the_same_draw(problem: Problem) -> None:
    plain, dropped = problem.but(hashes=1, length=60), 0.25
    problem = plain.but(dropout=dropped)
    kept, full = kept_weights(problem), kept_weights(plain)
    alone = full.diagonal() == 1  # whose own value is no weighted one
    assert alone.sum() == 1
    kept, full = kept[~alone], full[~alone]
    assert torch.all((kept == 0) | torch.isclose(kept, full / (1 - dropped), rtol=1e-5))
    share = (kept[full > 0] == 0).double().mean().item()
    assert abs(share - dropped) < 0.04

    # The gradients are those of the definition with these pairs dropped.
    factors = torch.ones(problem.length, problem.length, device=DEVICE, dtype=torch.float64)
    factors[~alone] = (kept != 0).double() / (1 - dropped)

    def attend(q: torch.Tensor, v: torch.Tensor, plan: LSHPlan, _mask: None) -> torch.Tensor:
        units = torch.eye(problem.length, device=DEVICE, dtype=q.dtype)[None, None]
        return (plain.definition(q, units, plan, None) * factors) @ v

    q, v, weight, _, plan = problem.draw()
    torch.manual_seed(7)
    found = differentiate(problem.kernels, q, v, weight, plan, None)
    wanted = differentiate(attend, q.double(), v.double(), weight.double(), plan, None)
    assert max(errors(found, wanted)) <= FLOAT32
