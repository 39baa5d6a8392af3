from dataclasses import replace

import pytest
import torch
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import scaled_dot_product_attention

from harness.schema import Job
from harness.worker import workload
from harness.worker.flop_counting import count
from models.variant import VARIANTS, Unsupported
from tests.harness.worker.conftest import CELL, FAST

LENGTH = 256
ENTRIES = [(name, impl) for name in VARIANTS.names() for impl in VARIANTS.load(name).impls]


def step_of(phase: str, **changes):
    """A workload of a real model, or a skip with the reason why it cannot be here."""
    fields = {"phase": phase, "seq_len": LENGTH, "batch": 1, **changes}
    try:
        return workload.build(Job(cell=replace(CELL, **fields), metrics=(), protocol=FAST))
    except (Unsupported, ValueError) as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("phase", ["forward", "train_step"])
@pytest.mark.parametrize("model", ["transformer", "reformer"])
@pytest.mark.parametrize(("attention", "impl"), ENTRIES)
def test_the_paper_agrees_with_pytorch_or_the_gap_has_a_name(
    attention: str, impl: str, model: str, phase: str
) -> None:
    work = step_of(phase, model=model, attention=attention, impl=impl)
    try:
        counted = count(work.step)
    except Unsupported as error:
        pytest.skip(str(error))
    training = phase == "train_step"
    executed = work.cost.train_executed_flops if training else work.cost.executed_flops
    if counted.flops is None:
        assert counted.reason is not None
        assert counted.reason.startswith("n/a (")
    else:
        assert counted.flops == executed


def test_fused_attention_on_a_cpu_is_a_named_gap_and_not_zero() -> None:
    q = torch.randn(1, 2, 64, 16)
    counted = count(lambda: scaled_dot_product_attention(q, q, q))
    assert counted.flops is None
    assert counted.reason is not None
    assert counted.reason.startswith("n/a (uncounted op: aten._scaled_dot_product_flash_attention")


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_is_a_named_gap_and_not_a_type_error() -> None:
    q = torch.randn(1, 2, 128, 16)
    counted = count(lambda: flex_attention(q, q, q))
    assert counted.flops is None
    assert counted.reason == "n/a (uncounted op: torch.ops.higher_order.flex_attention)"


def test_a_type_error_of_the_step_itself_is_no_gap() -> None:
    with pytest.raises(TypeError, match="mine"):
        count(lambda: (_ for _ in ()).throw(TypeError("mine")))


def test_no_memory_to_count_in_is_a_named_gap() -> None:
    def step() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert count(step).reason == "n/a (out of memory while it was counted)"


def test_operand_bytes_are_those_of_products_and_not_of_pointwise_work() -> None:
    a, b = torch.randn(8, 16), torch.randn(16, 4)
    counted = count(lambda: (a @ b).relu().exp())
    assert counted.operand_bytes == 4 * (8 * 16 + 16 * 4 + 8 * 4)
    assert counted.flops == 2 * 8 * 16 * 4


def test_written_scores_are_among_the_operand_bytes() -> None:
    n, d = 64, 16
    q = torch.randn(1, 1, n, d)
    eager = count(lambda: (q @ q.mT).softmax(-1) @ q).operand_bytes
    fused = count(lambda: scaled_dot_product_attention(q, q, q)).operand_bytes
    assert eager == 4 * (2 * n * n + 4 * n * d)
    assert fused == 4 * 4 * n * d
