from types import SimpleNamespace

import pytest
import torch

from harness.worker.flush import make_flush


@pytest.mark.parametrize(
    ("properties", "size", "cache"),
    [
        (SimpleNamespace(L2_cache_size=3 << 20), 6 << 20, 3 << 20),
        (SimpleNamespace(L2_cache_size=0), 256 << 20, None),
        (SimpleNamespace(), 256 << 20, None),
    ],
)
def test_the_flush_overwrites_twice_the_cache_of_this_device(properties, size, cache) -> None:
    cuda = SimpleNamespace(get_device_properties=lambda _: properties)
    flush = make_flush(cuda, torch.device("cpu"))
    assert (flush.size, flush.cache) == (size, cache)
    written = flush.queue()
    assert isinstance(written, torch.Tensor)
    assert written.nbytes == size
    assert flush.queue() is written  # allocated once
