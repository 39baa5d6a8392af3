from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.profiler import profile, record_function

from harness.worker.spans import STEP, break_down
from models.kernels.region import region

_ids = count(1)


def event(
    name: str,
    start: float,
    end: float,
    own: float | None = None,
    parent: Any = None,
    kernels: tuple[tuple[str, float], ...] = (),
    device: str = "CPU",
    **changes: Any,
) -> Any:
    """An event as torch.profiler gives it; times in microseconds."""
    return SimpleNamespace(
        id=next(_ids),
        name=name,
        time_range=SimpleNamespace(start=start, end=end),
        self_cpu_time_total=end - start if own is None else own,
        cpu_parent=parent,
        kernels=[SimpleNamespace(name=k, duration=ns) for k, ns in kernels],
        device_type=SimpleNamespace(name=device),
        is_user_annotation=changes.get("annotation", False),
    )


def test_on_a_cpu_own_times_and_what_is_left_add_up_to_each_step() -> None:
    step = event(STEP, 0, 100, own=10)
    product = event("aten::bmm", 10, 60, parent=step)
    hashing = event("hash", 60, 80, own=5, parent=step)
    inner = event("aten::bmm", 62, 77, parent=hashing)
    node = event("MmBackward0", 80, 85, parent=step)
    odd = event("mine::thing", 85, 90, parent=step)
    other = event(STEP, 200, 250, own=50)
    found = break_down([step, product, hashing, inner, node, odd, other], "cpu")
    assert found.steps == (100_000, 50_000)
    assert found.families == {
        "unattributed": (20_000, 50_000),
        "matrix_product": (50_000, 0),
        "hashing": (20_000, 0),
        "autograd": (5_000, 0),
        "other": (5_000, 0),
    }
    assert found.explained == pytest.approx(75 / 150)
    assert ("aten::bmm", "matrix_product", 25_000, 0.5) in found.names
    assert ("aten::bmm", "hashing", 7_500, 0.5) in found.names


def test_on_cuda_kernels_belong_to_the_operation_and_region_that_launched_them() -> None:
    step = event(STEP, 0, 100)
    hashing = event("hash", 1, 5, parent=step)
    events = [
        step,
        event("aten::mm", 2, 4, parent=hashing, kernels=(("gemm_nt", 20),)),
        # On autograd's thread nothing encloses the operation.
        event("aten::bmm", 20, 22, kernels=(("gemm_nn", 30),)),
        event("gemm_nt", 10, 30, device="CUDA"),
        event("gemm_nn", 40, 70, device="CUDA"),
        event("Memcpy DtoH", 75, 80, device="CUDA"),  # launched by nobody that is known
        event(STEP, 10, 80, device="CUDA", annotation=True),
    ]
    found = break_down(events, "cuda")
    assert found.steps == (70_000,)  # from the first kernel's beginning to the last one's end
    assert found.families == {
        "matrix_product": (30_000,),
        "hashing": (20_000,),
        "unattributed": (15_000,),  # the device was idle
        "copy": (5_000,),
    }


def test_kernels_of_overlapping_streams_leave_nothing_over() -> None:
    events = [
        event(STEP, 0, 100),
        event("aten::mm", 1, 2, kernels=(("gemm", 50),)),
        event("aten::mul", 3, 4, kernels=(("vectorized", 50),)),
        event("gemm", 10, 60, device="CUDA"),
        event("vectorized", 10, 60, device="CUDA"),
    ]
    found = break_down(events, "cuda")
    assert found.families["unattributed"] == (0,)


def test_events_without_a_step_are_refused() -> None:
    with pytest.raises(ValueError, match="no step"):
        break_down([event("aten::mm", 0, 1)], "cpu")


def test_a_real_profile_tells_the_hash_s_product_from_the_attention_s() -> None:
    a = torch.ones(64, 64)
    with profile() as found, record_function(STEP):
        with region("hash"):
            (a @ a).argmax()
        (a @ a).softmax(-1)
    split = break_down(found.events() or (), "cpu")
    names = {(name, family) for name, family, _, _ in split.names}
    assert {("aten::mm", "hashing"), ("aten::mm", "matrix_product")} <= names
    assert {("aten::argmax", "hashing"), ("aten::_softmax", "softmax")} <= names
    total = sum(sum(values) for values in split.families.values())
    assert total == pytest.approx(sum(split.steps))


def test_of_two_kernels_of_a_name_the_one_that_nobody_launched_counts_too() -> None:
    events = [
        event(STEP, 0, 100),
        event("aten::mm", 1, 2, kernels=(("gemm", 20),)),
        event("gemm", 10, 30, device="CUDA"),
        event("gemm", 30, 50, device="CUDA"),
    ]
    found = break_down(events, "cuda")
    assert found.families == {"matrix_product": (40_000,), "unattributed": (0,)}
