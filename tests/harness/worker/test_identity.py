"""An impl that promises a kernel must be seen to run it."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from harness.worker.failure import WrongError
from harness.worker.identity import identify, kernel_names, require


def test_the_flash_kernel_of_the_cpu_is_seen_by_its_name() -> None:
    q = torch.randn(1, 2, 64, 16)
    names = kernel_names(lambda: scaled_dot_product_attention(q, q, q))
    found = require("flash", names)
    assert found is not None
    assert "flash" in found


def test_a_silent_fall_back_is_wrong_and_names_what_ran() -> None:
    q = torch.randn(1, 2, 64, 16)
    names = kernel_names(lambda: (q @ q.mT).softmax(-1) @ q)
    with pytest.raises(WrongError, match="flash: no kernel named like /flash/ ran, but aten::"):
        require("flash", names)


@pytest.mark.parametrize(
    ("impl", "kernel"),
    [
        ("flash", "void flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128>>"),
        ("flex", "triton_tem_fused_flex_attention_0"),
        ("triton", "lsh_attention_fwd_kernel"),
    ],
)
def test_the_kernels_of_a_gpu_are_known_by_their_names(impl: str, kernel: str) -> None:
    assert require(impl, ["ampere_sgemm_32x32", kernel]) == kernel
    with pytest.raises(WrongError, match="but no kernel at all"):
        require(impl, [])


def test_an_impl_that_promises_nothing_is_not_profiled() -> None:
    assert require("eager", []) is None
    assert identify(None, None, None, "eager") is None  # type: ignore[arg-type] # nothing is built
