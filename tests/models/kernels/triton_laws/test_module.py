"""The impl `triton` of the variant, reached as everybody reaches it."""

from __future__ import annotations

import pytest
import torch

from models.kernels import lsh_dispatch
from models.layers.replay import Replay
from models.unsupported import Unsupported
from models.variants.lsh import LSHAttention, LSHOptions
from tests.models.kernels.triton_laws.conftest import DEVICE, ON_DEVICE, errors


def build(impl: str, *, attention_dropout: float = 0.0) -> LSHAttention:
    options = LSHOptions(chunk=32, hashes=2, attention_dropout=attention_dropout)
    return LSHAttention(options, causal=True, impl=impl, head_dim=32).to(DEVICE)


def test_the_variant_computes_its_reference() -> None:
    q, v, weight = torch.randn(3, 1, 2, 80, 32, generator=torch.Generator().manual_seed(5))
    mask = torch.rand(1, 80, generator=torch.Generator().manual_seed(6)) > 0.2
    results = []
    for impl, dtype in (("triton", torch.float32), ("reference", torch.float64)):
        leaves = [x.to(DEVICE, dtype).requires_grad_() for x in (q, v)]
        module = build(impl)
        out = module(leaves[0], leaves[0], leaves[1], mask.to(DEVICE))
        gradients = torch.autograd.grad(out, leaves, weight.to(DEVICE, dtype))
        results.append([out.detach(), *gradients])
    assert module.ran is None
    assert max(errors(*results)) <= (4e-6 if ON_DEVICE else 1e-6)


def test_a_second_run_in_a_reversible_stack_drops_the_same_weights() -> None:
    module = build("triton", attention_dropout=0.5).train()
    q = torch.randn(1, 1, 40, 32, device=DEVICE)
    replay = Replay(torch.device(DEVICE))
    with replay.recording():
        first = module(q, q, q)
    with replay.repeating():
        again = module(q, q, q)
    assert torch.equal(first, again)
    assert not torch.equal(first, module(q, q, q))


@pytest.mark.parametrize(
    ("chunk", "dim", "dtype", "reason"),
    [
        (32, 48, torch.float32, "head_dim is 48; allowed: 32, 64, 128"),
        (16, 32, torch.float32, "chunk is 16; allowed: 32, 64, 128"),
        (32, 32, torch.float64, "dtype is torch.float64; allowed: "),
    ],
)
def test_what_the_kernels_cannot_compute_is_refused_with_the_reason(
    chunk: int, dim: int, dtype: torch.dtype, reason: str
) -> None:
    module = LSHAttention(LSHOptions(chunk=chunk), causal=True, impl="triton", head_dim=dim)
    q = torch.randn(1, 1, 40, dim, device=DEVICE, dtype=dtype)
    with pytest.raises(Unsupported, match=f"triton: {reason}"):
        module(q, q, q)


@pytest.mark.skipif(ON_DEVICE, reason="devices multiply bfloat16")
def test_the_interpreter_refuses_what_it_gets_wrong() -> None:
    q = torch.randn(1, 1, 40, 32, dtype=torch.bfloat16)
    with pytest.raises(Unsupported, match="bfloat16, whose products Triton's interpreter"):
        build("triton")(q, q, q)


@pytest.mark.skipif(not ON_DEVICE, reason="needs a CUDA device")
def test_auto_is_triton_on_a_device_where_it_can_be() -> None:
    module = build("auto")
    q = torch.randn(1, 1, 100, 32, device=DEVICE)
    module(q, q, q)
    assert module.ran == "triton"
    assert lsh_dispatch.runs_here("triton")


@pytest.mark.skipif(not ON_DEVICE, reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("causal", [True, False])
def test_flex_attention_and_our_kernels_agree(dtype: torch.dtype, causal: bool) -> None:
    q, v, weight = torch.randn(3, 1, 2, 1000, 64, generator=torch.Generator().manual_seed(5))
    mask = torch.rand(1, 1000, generator=torch.Generator().manual_seed(6)) > 0.2
    options = LSHOptions(logit_scale="sqrt_d")
    results = []
    for impl, kind in (("triton", dtype), ("flex", dtype), ("reference", torch.float64)):
        module = LSHAttention(options, causal=causal, impl=impl, head_dim=64).to(DEVICE)
        leaves = [x.to(DEVICE, dtype).to(kind).requires_grad_() for x in (q, v)]
        out = module(leaves[0], leaves[0], leaves[1], mask.to(DEVICE))
        gradients = torch.autograd.grad(out, leaves, weight.to(DEVICE, kind))
        results.append([out.detach(), *gradients])
    exact = results.pop()
    for found in results:
        assert max(errors(found, exact)) <= (1.5e-2 if dtype.itemsize == 2 else 2e-3)  # TF32 there
