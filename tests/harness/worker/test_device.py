import pytest
import torch

from harness.worker import device
from models.variant import Unsupported


@pytest.fixture(autouse=True)
def _settings():
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


def test_opening_a_device_sets_the_cells_threads_and_full_precision(job) -> None:
    torch.set_float32_matmul_precision("high")
    assert device.open_device(job(threads=2).cell) == torch.device("cpu")
    assert torch.get_num_threads() == 2
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_missing_device_is_unsupported(job, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.devices() == ["cpu"]
    with pytest.raises(Unsupported, match="cuda: no CUDA device here"):
        device.open_device(job(device="cuda").cell)


def test_the_first_visible_cuda_device_is_taken(job, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.devices() == ["cpu", "cuda"]
    assert device.open_device(job(device="cuda").cell) == torch.device("cuda", 0)


@pytest.mark.parametrize(("name", "calls"), [("cpu", 0), ("cuda", 1), ("cuda:0", 1)])
def test_only_cuda_needs_waiting(monkeypatch, name: str, calls: int) -> None:
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append(1))
    device.synchronize(name)
    assert len(waited) == calls


def test_a_seed_decides_what_is_drawn() -> None:
    device.seed(3)
    first = torch.rand(4)
    device.seed(3)
    assert torch.equal(first, torch.rand(4))
