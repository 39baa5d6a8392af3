"""Laws of every variant in the catalog: a new file is tested on arrival."""

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from models.variant import VARIANTS, Attention, Shape, Unsupported, attend

DIM = 16
LENGTHS = (1, 2, 63, 64, 65, 100, 257)
# Fused CPU kernels that PyTorch's counter has no formula for: it counts zero.
UNCOUNTED = {("full", "sdpa")}


def make(name: str, impl: str, causal: bool) -> Attention:
    variant = VARIANTS.load(name)
    return variant.module(variant.options(), causal=causal, impl=impl, head_dim=DIM)


def runnable(name: str, impl: str, causal: bool) -> bool:
    try:
        make(name, impl, causal)
    except Unsupported:
        return False
    return True


DIRECTIONS = [
    (name, causal)
    for name in VARIANTS.names()
    for causal in (True, False)
    if (VARIANTS.load(name).causal if causal else VARIANTS.load(name).bidirectional)
]
CASES = [
    (name, impl, causal)
    for name, causal in DIRECTIONS
    for impl in VARIANTS.load(name).impls
    if runnable(name, impl, causal)
]
every_case = pytest.mark.parametrize(("name", "impl", "causal"), CASES)


def vectors(length: int, *, batch: int = 2, heads: int = 2, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, heads, length, DIM, generator=generator) for _ in range(3)]


def with_gradients(attention: Attention, tensors: list[Tensor]) -> list[Tensor]:
    """Return the output and the gradients of a fixed random projection of it."""
    leaves = [x.detach().clone().requires_grad_() for x in tensors]
    out = attention(*leaves)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(9)).to(out.dtype)
    gradients = torch.autograd.grad(
        (out * weights).sum(), leaves, allow_unused=True, materialize_grads=True
    )
    return [out.detach(), *gradients]


def change_after(x: Tensor, t: int) -> Tensor:
    return torch.cat([x[:, :, : t + 1], x[:, :, t + 1 :] * -3 + 1], dim=2)


@pytest.mark.parametrize("length", LENGTHS)
@every_case
def test_impl_equals_the_float64_reference_in_values_and_gradients(
    name: str, impl: str, causal: bool, length: int
) -> None:
    tensors = vectors(length)
    found = with_gradients(make(name, impl, causal), tensors)
    expected = with_gradients(
        make(name, "reference", causal), [tensor.double() for tensor in tensors]
    )
    tolerance = 2e-5 * VARIANTS.load(name).tolerance
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=tolerance, atol=tolerance)


@every_case
def test_half_precision_stays_near_the_float64_reference(
    name: str, impl: str, causal: bool
) -> None:
    tensors = [x.bfloat16() for x in vectors(130)]
    try:
        found = make(name, impl, causal)(*tensors)
    except Unsupported:  # said, and not computed wrongly
        return
    expected = make(name, "reference", causal)(*(x.double() for x in tensors))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), expected, rtol=0.05, atol=0.05)


@every_case
def test_causal_variant_takes_nothing_from_later_values(name: str, impl: str, causal: bool) -> None:
    """Where q decides who meets whom (shared_qk), only the values may change."""
    attention = make(name, impl, causal)
    q, k, v = vectors(100)
    t = 70
    before = attention(q, k, v)
    if not attention.shared_qk:
        q, k = change_after(q, t), change_after(k, t)
    after = attention(q, k, change_after(v, t))
    changed = (before - after).abs().amax(dim=(0, 1, 3))
    assert changed[t + 1 :].max() > 0
    assert (changed[: t + 1] == 0).all() if causal else changed[: t + 1].max() > 0


@every_case
def test_permuting_the_batch_permutes_the_output(name: str, impl: str, causal: bool) -> None:
    attention = make(name, impl, causal)
    tensors = vectors(100, batch=3)
    permuted = attention(*(x[[2, 0, 1]] for x in tensors))
    torch.testing.assert_close(permuted, attention(*tensors)[[2, 0, 1]])


@every_case
def test_rows_are_rows_of_the_whole(name: str, impl: str, causal: bool) -> None:
    attention = make(name, impl, causal)
    q, k, v = (x.double() for x in vectors(150))
    rows = torch.tensor([0, 149, 64, 63, 7])
    torch.testing.assert_close(
        attention.rows(q, k, v, rows), attention(q, k, v)[:, :, rows], rtol=1e-10, atol=1e-10
    )


@every_case
def test_random_state_is_left_alone_and_evaluation_repeats(
    name: str, impl: str, causal: bool
) -> None:
    attention = make(name, impl, causal).eval()
    tensors = vectors(130)
    torch.manual_seed(4321)  # not the state that an earlier call may have left
    state = torch.get_rng_state()
    first = attention(*tensors)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(attention(*tensors), first)


@every_case
def test_the_default_device_of_the_caller_does_not_matter(
    name: str, impl: str, causal: bool
) -> None:
    attention, tensors = make(name, impl, causal), vectors(100)
    expected = attention(*tensors)
    with torch.device("meta"):
        found = attention(*tensors)
    assert torch.equal(found, expected)


@every_case
def test_inputs_are_not_written_to(name: str, impl: str, causal: bool) -> None:
    tensors = vectors(100)
    copies = [x.clone() for x in tensors]
    make(name, impl, causal)(*tensors)
    assert all(torch.equal(x, copy) for x, copy in zip(tensors, copies, strict=True))


@pytest.mark.parametrize("length", [1, 64, 100, 257])
@every_case
def test_executed_flops_are_those_that_the_counter_sees(
    name: str, impl: str, causal: bool, length: int
) -> None:
    variant = VARIANTS.load(name)
    shape = Shape(batch=2, heads=2, seq_len=length, head_dim=DIM, causal=causal)
    cost = variant.cost(variant.options(), shape, impl)
    attention = make(name, impl, causal)
    with FlopCounterMode(display=False) as forward:
        attention(*vectors(length))
    with FlopCounterMode(display=False) as both:
        attention(*(x.requires_grad_() for x in vectors(length))).sum().backward()
    if (name, impl) in UNCOUNTED:
        assert forward.get_total_flops() == 0
        return
    once = cost.forward_only_flops
    assert forward.get_total_flops() == cost.executed_flops
    again = cost.recomputed_flops
    assert both.get_total_flops() == 3 * (cost.executed_flops - once) + once + again


@pytest.mark.parametrize("length", [1, 2, 65])
@every_case
def test_model_flops_count_the_pairs_of_exact_attention(
    name: str, impl: str, causal: bool, length: int
) -> None:
    pairs = sum(1 for i in range(length) for j in range(length) if j <= i or not causal)
    variant = VARIANTS.load(name)
    shape = Shape(batch=3, heads=2, seq_len=length, head_dim=DIM, causal=causal, itemsize=2)
    cost = variant.cost(variant.options(), shape, impl)
    assert cost.model_flops == 4 * pairs * DIM * 2 * 3
    assert cost.compulsory_bytes > 0
    assert cost.state_bytes > 0
    assert variant.exact is False or impl == "reference" or cost.executed_flops >= cost.model_flops


def padded(length: int) -> Tensor:
    """Rows padded left, right, in the middle, everywhere and nowhere."""
    mask = torch.ones(5, length, dtype=torch.bool)
    mask[0, : length // 3] = False
    mask[1, length // 2 :] = False
    mask[2, 1:5] = False
    mask[3] = False
    return mask


@every_case
def test_padding_is_never_attended_whatever_it_holds(name: str, impl: str, causal: bool) -> None:
    attention, mask = make(name, impl, causal), padded(70)
    q, k, v = vectors(70, batch=5)
    elsewhere = mask[:, None, :, None]
    changed = [torch.where(elsewhere, x, -5 * x + 1) for x in (q, k, v)]
    one, other = (attend(attention, *x, mask=mask) for x in ((q, k, v), changed))
    assert one.isfinite().all()
    torch.testing.assert_close(
        one.masked_fill(~elsewhere, 0), other.masked_fill(~elsewhere, 0), rtol=1e-5, atol=1e-5
    )


@every_case
def test_masks_have_finite_gradients(name: str, impl: str, causal: bool) -> None:
    leaves = [x.requires_grad_() for x in vectors(70, batch=5)]
    out = attend(make(name, impl, causal), *leaves, mask=padded(70))
    gradients = torch.autograd.grad(out.sum(), leaves, allow_unused=True, materialize_grads=True)
    assert all(gradient.isfinite().all() for gradient in gradients)


@every_case
def test_a_mask_that_hides_nothing_changes_nothing(name: str, impl: str, causal: bool) -> None:
    attention = make(name, impl, causal)
    tensors = [x.double() for x in vectors(130)]
    found = attend(attention, *tensors, mask=torch.ones(2, 130, dtype=torch.bool))
    torch.testing.assert_close(found, attention(*tensors), rtol=1e-12, atol=1e-12)


@every_case
def test_masked_impl_equals_the_masked_reference(name: str, impl: str, causal: bool) -> None:
    tensors, mask = [x.double() for x in vectors(130, batch=5)], padded(130)
    found = attend(make(name, impl, causal), *tensors, mask=mask)
    expected = attend(make(name, "reference", causal), *tensors, mask=mask)
    shown = mask[:, None, :, None]
    torch.testing.assert_close(found * shown, expected * shown, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("prompt", [1, 62])  # the second goes on past one chunk
@pytest.mark.parametrize(("name", "impl"), [(n, i) for n, i, causal in CASES if causal])
def test_a_step_equals_the_last_row_of_the_whole(name: str, impl: str, prompt: int) -> None:
    attention = make(name, impl, True).eval()
    q, k, v = (x.double() for x in vectors(prompt + 4))
    state = attention.begin(q[:, :, :prompt], k[:, :, :prompt], v[:, :, :prompt])
    for t in range(prompt, prompt + 4):
        one, all_ = slice(t, t + 1), slice(t + 1)
        out, state = attention.step(q[:, :, one], k[:, :, one], v[:, :, one], state)
        expected = attention(q[:, :, all_], k[:, :, all_], v[:, :, all_])[:, :, -1:]
        torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
