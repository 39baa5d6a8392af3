import pytest
import torch

from harness.worker import weighing, workload
from harness.worker.metric import Bench
from harness.worker.parts import followed


def test_a_training_step_goes_through_all_parts_in_order(job) -> None:
    work, seen = workload.build(job(phase="train_step")), []
    with followed(work.model, seen.append):
        work.step()
        work.step()
    once = ["forward", "loss", "backward", "optimizer"]
    assert seen == [*once, *once, "forward"]
    work.step()
    assert len(seen) == 9  # nobody listens any more


def test_a_forward_has_one_part(job) -> None:
    work, seen = workload.build(job()), []
    with followed(work.model, seen.append):
        work.step()
    assert seen == ["forward"]


class Greedy(torch.autograd.Function):
    """Runs out of memory in the backward."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, *grad_outputs):
        raise MemoryError


def notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


@pytest.mark.parametrize("part", ["forward", "loss", "backward", "optimizer"])
def test_an_error_says_in_which_part_it_happened(job, part: str, monkeypatch) -> None:
    work = workload.build(job(phase="train_step"))

    def fail(*_, **__):
        raise MemoryError

    if part == "forward":
        monkeypatch.setattr(torch.nn.Embedding, "forward", fail)
    elif part == "loss":
        monkeypatch.setattr(workload.functional, "cross_entropy", fail)
    elif part == "optimizer":
        monkeypatch.setattr(torch.optim.AdamW, "_init_group", fail)
    else:
        work.model.get_submodule("value").register_forward_hook(
            lambda *args: Greedy.apply(args[-1])
        )
    with pytest.raises(MemoryError) as caught:
        weighing.run(work)
    assert notes(caught.value) == [f"in the {part}"]


def test_an_error_while_building_says_so(job) -> None:
    def fail(_):
        raise MemoryError

    with pytest.raises(MemoryError) as caught:
        weighing.build(Bench(job=job(), build=fail))
    assert notes(caught.value) == ["while parameters and input were made"]
