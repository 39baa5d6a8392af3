"""Laws of naming what went wrong."""

import signal

import pytest
import torch

from harness.schema import Outcome
from harness.worker import failure
from harness.worker.failure import WrongError
from models.variant import Unsupported

CPU = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 17179869184 bytes. Error code 12 (Cannot allocate memory)"
)
CUDA = (
    "CUDA out of memory. Tried to allocate 24.00 GiB. GPU 0 has a total capacity of 139.00 GiB of "
    "which 20.00 GiB is free. If reserved but unallocated memory is large try setting "
    "PYTORCH_CUDA_ALLOC_CONF. See documentation for Memory Management"
)


@pytest.mark.parametrize(
    ("error", "outcome", "requested"),
    [
        (WrongError("values off by 0.1"), Outcome.WRONG, None),
        (Unsupported("flex needs CUDA"), Outcome.UNSUPPORTED, None),
        (RuntimeError(CPU), Outcome.OUT_OF_MEMORY, 16 << 30),
        (torch.OutOfMemoryError(CUDA), Outcome.OUT_OF_MEMORY, 24 << 30),
        (MemoryError("Unable to allocate 1.50 GiB for an array"), Outcome.OUT_OF_MEMORY, 3 << 29),
        (MemoryError(), Outcome.OUT_OF_MEMORY, None),
        (RuntimeError("shapes do not match"), Outcome.ERROR, None),
        (KeyError("q"), Outcome.ERROR, None),
    ],
)
def test_an_exception_is_one_outcome_with_a_reason(
    error: Exception, outcome: Outcome, requested: int | None
) -> None:
    found = failure.of_exception(error)
    assert (found.outcome, found.requested_bytes) == (outcome, requested)
    assert found.reason


def test_an_error_names_its_class_and_line() -> None:
    def broken() -> None:
        raise IndexError("no such head")

    with pytest.raises(IndexError) as caught:
        broken()
    reason = failure.of_exception(caught.value).reason
    assert reason.startswith("test_failure.py:")
    assert reason.endswith("IndexError: no such head")


def test_a_cuda_out_of_memory_keeps_its_figures_and_drops_the_advice() -> None:
    reason = failure.of_exception(torch.OutOfMemoryError(CUDA)).reason
    assert "139.00 GiB" in reason
    assert "documentation" not in reason


@pytest.mark.parametrize(
    ("status", "log", "oom_killed", "outcome", "words"),
    [
        (9, "", False, Outcome.CRASHED, "exit code 9"),
        (0, "", False, Outcome.CRASHED, "exit code 0 and no answer"),
        (-signal.SIGSEGV, "Fatal Python error\nlast line", False, Outcome.CRASHED, "last line"),
        (-signal.SIGKILL, "", False, Outcome.CRASHED, "SIGKILL"),
        (-signal.SIGKILL, "", True, Outcome.OUT_OF_MEMORY, "out-of-memory killer"),
        (-signal.SIGABRT, "terminate: std::bad_alloc", False, Outcome.OUT_OF_MEMORY, "limit"),
        (-signal.SIGABRT, "assertion failed", True, Outcome.CRASHED, "SIGABRT"),
    ],
)
def test_a_death_without_an_answer_is_told_apart(
    status: int, log: str, oom_killed: bool, outcome: Outcome, words: str
) -> None:
    found = failure.of_death(status, log, oom_killed=oom_killed)
    assert found.outcome is outcome
    assert words in found.reason
