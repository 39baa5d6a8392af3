"""The key kernels at 1k tokens under pytest-benchmark, on our clock: process CPU time.

All impls, longer sequences, memory and the attention mass that is found: suites/kernels.yaml.

python -m pytest tests/benchmarks --benchmark-enable --benchmark-json=kernels.json
python -m harness import kernels.json
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from harness.worker.clock import Clock
from models.variant import VARIANTS, Unsupported

LENGTH, HEADS, HEAD_DIM = 1024, 4, 32
KERNELS = {
    "full-sdpa": ("full", "sdpa", {}),
    "full-eager": ("full", "eager", {}),
    "local-chunked": ("local", "chunked", {"chunk": 64}),
    "lsh-chunked": ("lsh", "chunked", {"hashes": 4, "chunk": 64}),
    "lsh-huggingface": ("lsh_huggingface", "chunked", {"hashes": 4, "chunk": 64}),
    "lsh-reformer-pytorch": ("lsh_reformer_pytorch", "package", {"hashes": 4, "chunk": 64}),
}
CLOCK = Clock()


def cpu_seconds() -> float:
    return CLOCK.cpu_ns() / 1e9


def step(kernel: str, phase: str) -> Callable[[], Tensor]:
    """Return one call of a kernel, backward included or not, on the same inputs each time."""
    name, impl, options = KERNELS[kernel]
    variant = VARIANTS.load(name)
    try:
        attention = variant.module(
            variant.options(**options), causal=True, impl=impl, head_dim=HEAD_DIM
        )
    except Unsupported as reason:  # a peer's package
        pytest.skip(str(reason))
    generator = torch.Generator().manual_seed(0)
    q, k, v, weight = torch.randn(4, 1, HEADS, LENGTH, HEAD_DIM, generator=generator)
    if phase == "forward":
        return torch.no_grad()(lambda: attention(q, k, v))
    inputs = [x.requires_grad_() for x in ([q, v] if attention.shared_qk else [q, k, v])]

    def both() -> Tensor:  # gradients are returned, not accumulated
        return torch.autograd.grad(attention(q, k, v), inputs, weight)[0]

    return both


@pytest.mark.benchmark(timer=cpu_seconds, disable_gc=True)
@pytest.mark.parametrize("phase", ["forward", "forward_backward"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel(benchmark, kernel: str, phase: str) -> None:
    benchmark.group = f"{phase}-{LENGTH}"
    benchmark.extra_info |= {"clock": "process CPU time", "threads": 1, "length": LENGTH}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        out = benchmark.pedantic(step(kernel, phase), rounds=30, warmup_rounds=3)
    finally:
        torch.set_num_threads(threads)
    assert out.isfinite().all()
