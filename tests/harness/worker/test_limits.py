import resource
import sys
from types import SimpleNamespace

import psutil
import pytest
import torch

from harness.schema import Outcome
from harness.worker import failure, limits
from models.variant import Unsupported

MIB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits Linux's address space")


def current() -> int:
    return resource.getrlimit(resource.RLIMIT_AS)[0]


def raise_within(size: int, device: str, cuda, look) -> None:
    with limits.budget(size, device, cuda):
        look()
        raise MemoryError


@linux
def test_an_allocation_beyond_the_fence_fails_and_the_fence_goes() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with limits.budget(64 * MIB, "cpu", None):
        torch.ones(8 * MIB)  # 32 MiB
        with pytest.raises(RuntimeError, match="134217728 bytes"):
            torch.ones(32 * MIB)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    torch.ones(32 * MIB)


@linux
def test_the_fence_goes_also_after_a_failure_and_never_lifts_a_tighter_one() -> None:
    _, hard = before = resource.getrlimit(resource.RLIMIT_AS)
    inside = []
    tight = psutil.Process().memory_info().vms + 256 * MIB
    resource.setrlimit(resource.RLIMIT_AS, (tight, hard))
    try:
        with pytest.raises(MemoryError):
            raise_within(1 << 40, "cpu", None, lambda: inside.append(current()))
        assert inside == [tight]
        assert current() == tight
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_without_a_budget_nothing_is_touched() -> None:
    with limits.budget(None, "cuda", None):
        pass


def test_elsewhere_than_on_linux_a_cpu_has_no_budget(monkeypatch) -> None:
    monkeypatch.setattr(limits.sys, "platform", "darwin")
    with pytest.raises(Unsupported, match="darwin"), limits.budget(1, "cpu", None):
        pass


def test_on_cuda_the_allocator_gets_a_fraction_of_the_device_for_as_long() -> None:
    fractions: list = []
    cuda = SimpleNamespace(
        get_device_properties=lambda _: SimpleNamespace(total_memory=1000),
        set_per_process_memory_fraction=fractions.append,
    )
    with pytest.raises(MemoryError):
        raise_within(250, "cuda", cuda, lambda: fractions.append("inside"))
    assert fractions == [0.25, "inside", 1.0]
    with pytest.raises(Unsupported, match="1,001 bytes is more"), limits.budget(1001, "cuda", cuda):
        pass


def test_a_step_above_its_budget_is_an_out_of_memory_with_its_figures() -> None:
    found = failure.of_exception(limits.OverBudgetError(1000, 1234, 300, "backward"))
    assert found.outcome is Outcome.OUT_OF_MEMORY
    assert found.reason == "needs 1,234 bytes, more than the budget of 1,000, in the backward"
    assert found.requested_bytes == 300


def test_an_out_of_memory_says_where_it_happened() -> None:
    error = RuntimeError(
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."
    )
    error.add_note("in the backward")
    found = failure.of_exception(error)
    assert (
        found.reason == "tried to allocate 8 bytes beyond the host's memory limit, in the backward"
    )
    assert found.requested_bytes == 8
