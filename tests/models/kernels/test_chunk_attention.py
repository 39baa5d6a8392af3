"""Hand-written chunked attention: exact, repeatable, and careless of what memory held before."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.kernels import chunk_attention
from models.kernels.chunk_layout import rows_of
from models.variants.local import LocalAttention, LocalOptions
from models.variants.lsh import LSHAttention, LSHOptions

DIM = 16
SETTINGS: dict[str, dict[str, Any]] = {
    "causal": {},
    "bidirectional": {"causal": False},
    "looks ahead": {"causal": False, "after": 1, "before": 2},
    "own bucket": {"same_bucket": True},
    "counts once": {"count_once": True},
    "own bucket, counts once": {"same_bucket": True, "count_once": True, "causal": False},
    "strict, counts once": {"strict": True, "max_len": 300, "count_once": True},
    "cooler": {"logit_scale": "sqrt_d"},
}
settings = pytest.mark.parametrize("values", SETTINGS.values(), ids=SETTINGS.keys())


def attention(values: dict[str, Any], impl: str = "chunked") -> LSHAttention:
    values = dict(values)
    causal = values.pop("causal", True)
    options = LSHOptions(hashes=3, chunk=16, **values)
    return LSHAttention(options, causal=causal, impl=impl, head_dim=DIM)


def vectors(length: int = 130, *, batch: int = 2, size: float = 1.0) -> list[Tensor]:
    """Return q, v and a weight of the output."""
    generator = torch.Generator().manual_seed(length)
    q, v, weight = torch.randn(3, batch, 2, length, DIM, generator=generator)
    return [size * q, v, weight]


def values_and_gradients(
    lsh: LSHAttention, tensors: list[Tensor], mask: Tensor | None = None
) -> list[Tensor]:
    q, v = (x.detach().requires_grad_() for x in tensors[:2])
    out = lsh(q, q, v, mask)
    return [out.detach(), *torch.autograd.grad(out, (q, v), tensors[2])]


def relative(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


def hidden(batch: int, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.rand(batch, length, generator=generator) > 0.3


@pytest.mark.parametrize("length", [65, 128, 300])
@pytest.mark.parametrize("masked", [False, True])
@settings
def test_float32_is_within_a_millionth_of_the_softmax_over_the_union(
    values: dict[str, Any], masked: bool, length: int
) -> None:
    tensors, mask = vectors(length), hidden(2, length) if masked else None
    found = values_and_gradients(attention(values), tensors, mask)
    exact = values_and_gradients(
        attention(values, "reference"), [x.double() for x in tensors], mask
    )
    assert max(relative(*pair) for pair in zip(found, exact, strict=True)) <= 1e-6


@settings
def test_a_bound_on_large_scores_changes_nothing_but_the_overflow(values: dict[str, Any]) -> None:
    tensors = [x.double() for x in vectors(size=60.0)]
    found = values_and_gradients(attention(values), tensors)
    exact = values_and_gradients(attention(values, "reference"), tensors)
    assert max(relative(*pair) for pair in zip(found, exact, strict=True)) <= 1e-12
    low = values_and_gradients(attention(values), [x.float() for x in tensors])
    assert all(x.isfinite().all() for x in low)


def test_the_bound_is_taken_just_where_scores_may_be_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[bool] = []
    needs = chunk_attention._needs_bound
    monkeypatch.setattr(
        chunk_attention, "_needs_bound", lambda q, k: taken.append(needs(q, k)) or taken[-1]
    )
    for size in (1.0, 60.0):
        q, v, _ = vectors(size=size)
        attention({})(q, q, v)
    assert taken == [False, True]


@settings
def test_the_backward_repeats_bitwise(values: dict[str, Any]) -> None:
    one, other = (values_and_gradients(attention(values), vectors()) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(one, other, strict=True))


@pytest.mark.parametrize("size", [1.0, 60.0])
@settings
def test_what_fresh_memory_holds_does_not_matter(
    values: dict[str, Any], size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors, mask = vectors(size=size), hidden(2, 130)
    expected = values_and_gradients(attention(values), tensors, mask)
    empty = torch.empty

    def poisoned(*shape: Any, **how: Any) -> Tensor:
        found = empty(*shape, **how)
        return found.fill_(torch.nan) if found.is_floating_point() else found

    monkeypatch.setattr(torch, "empty", poisoned)
    found = values_and_gradients(attention(values), tensors, mask)
    assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))


@pytest.mark.parametrize("block", [16 * 32, 5 * 16 * 32])
@settings
def test_neither_blocks_nor_groups_of_sequences_change_anything(
    values: dict[str, Any], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors, mask = [x.double() for x in vectors(batch=3)], hidden(3, 130)
    expected = values_and_gradients(attention(values), tensors, mask)
    monkeypatch.setattr(chunk_attention, "BLOCK", {"cpu": block})
    monkeypatch.setattr(chunk_attention, "GROUP", 260)
    found = values_and_gradients(attention(values), tensors, mask)
    assert max(relative(*pair) for pair in zip(found, expected, strict=True)) <= 1e-13


def test_dropped_weights_are_dropped_again_in_the_backward() -> None:
    """The gradient of values is the transposed matrix of the kept weights: it is linear in v."""
    lsh = attention({"attention_dropout": 0.3, "causal": False})
    q, v, weight = (x.double() for x in vectors())
    for direction in (v, weight):
        torch.manual_seed(4)
        leaf = v.clone().requires_grad_()
        out = lsh(q, q, leaf)
        torch.manual_seed(99)  # the backward must not depend on the present state, or change it
        state = torch.get_rng_state()
        (gradient,) = torch.autograd.grad(out, leaf, weight)
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(4)
        along = lsh(q, q, v + direction) - out.detach()
        slope = float((gradient * direction).sum())
        assert float((along * weight).sum()) == pytest.approx(slope, rel=1e-9)


def test_gradients_of_dropped_attention_are_those_of_differences() -> None:
    lsh = LSHAttention(
        LSHOptions(hashes=2, chunk=3, buckets=2, attention_dropout=0.4),
        causal=True,
        impl="chunked",
        head_dim=2,
    )
    q, v = torch.randn(2, 1, 1, 8, 2, dtype=torch.float64).requires_grad_()
    plan = lsh.plan(q)

    def run(q: Tensor, v: Tensor) -> Tensor:
        torch.manual_seed(0)
        return lsh.attend(q, v, plan)

    assert torch.autograd.gradcheck(run, (q.detach().requires_grad_(), v.detach().requires_grad_()))


def test_a_second_derivative_is_refused() -> None:
    q, v, _ = vectors(20)
    q.requires_grad_()
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(attention({})(q, q, v).sum(), q, create_graph=True)


def test_strides_of_inputs_and_of_the_gradient_do_not_matter() -> None:
    tensors = vectors()
    expected = values_and_gradients(attention({}), tensors)
    strided = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in tensors]
    found = values_and_gradients(attention({}), strided)
    assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))


def test_autocast_outside_does_not_lower_the_precision_of_float32_vectors() -> None:
    tensors = vectors()
    expected = values_and_gradients(attention({}), tensors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = values_and_gradients(attention({}), tensors)
    assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))


def test_what_is_kept_for_the_backward_is_linear_in_the_length_and_has_no_pairs() -> None:
    kept: list[int] = []

    def keep(x: Tensor) -> Tensor:
        kept.append(x.numel())
        return x

    q, v, _ = vectors(256, batch=1)
    q.requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        attention({})(q, q, v)
    assert sum(kept) <= 8 * q.numel()


def test_rows_are_counted_in_64_bits() -> None:
    """A head of the last rows of a very long batch: offsets beyond 2^31."""
    index = torch.tensor([[2**20 - 1, 0]], dtype=torch.int32)
    rows = rows_of(index, 2**20, 2**13)
    assert rows is not None
    assert rows.tolist() == [2**33 + 2**20 - 1, 2**33]


def test_local_attention_is_exact_and_repeats_as_well() -> None:
    local = LocalOptions(chunk=16)
    q, k, v = torch.randn(3, 2, 2, 130, DIM)
    results: list[list[Tensor]] = []
    for impl, kind in (
        ("chunked", torch.float32),
        ("chunked", torch.float32),
        ("reference", torch.float64),
    ):
        leaves = [x.to(kind).requires_grad_() for x in (q, k, v)]
        out = LocalAttention(local, causal=True, impl=impl, head_dim=DIM)(*leaves)
        results.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
    one, other, exact = ([x.detach() for x in found] for found in results)
    assert all(torch.equal(x, y) for x, y in zip(one, other, strict=True))
    assert max(relative(*pair) for pair in zip(one, exact, strict=True)) <= 1e-6
