"""The peer from reformer-pytorch: what its package computes, and what is said without it."""

import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from models.layers.replay import Replay
from models.variant import Unsupported
from models.variants.lsh_reformer_pytorch import (
    LSHReformerPytorchAttention,
    LSHReformerPytorchOptions,
)

DIM = 8
OPTIONS: list[dict[str, Any]] = [
    {"hashes": 1},
    {"hashes": 3},
    {"hashes": 3, "count_once": True},
    {"hashes": 1, "count_once": True},
    {"hashes": 2, "across_buckets": False},
    {"hashes": 1, "across_buckets": False},
    {"hashes": 2, "across_buckets": False, "count_once": True},
]
installed = pytest.fixture(
    lambda: pytest.importorskip(
        "reformer_pytorch", reason="parity needs the package reformer-pytorch, of the extra peers"
    ),
    name="installed",
)


def attention(impl: str, *, causal: bool = True, **options: Any) -> LSHReformerPytorchAttention:
    record = LSHReformerPytorchOptions(**{"chunk": 8, "hashes": 3, **options})
    return LSHReformerPytorchAttention(record, causal=causal, impl=impl, head_dim=DIM)


def vectors(length: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(length)
    return [torch.randn(2, 3, length, DIM, generator=generator).to(dtype) for _ in "qv"]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("options", OPTIONS)
def test_the_definition_is_what_the_package_computes(
    installed: Any, options: dict[str, Any], causal: bool, masked: bool
) -> None:
    tensors = [x.requires_grad_() for x in vectors(61)]
    mask = torch.arange(61) < torch.tensor([[61], [20]]) if masked else None
    results: list[list[Tensor]] = []
    for impl in ("package", "reference"):
        out = attention(impl, causal=causal, **options)(tensors[0], *tensors, mask)
        weights = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
        results.append([out, *torch.autograd.grad((out * weights).sum(), tensors)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("options", OPTIONS)
def test_the_adapter_adds_nothing_to_the_package(
    installed: Any, options: dict[str, Any], causal: bool
) -> None:
    """In float32, where a length needs no filling up, it is the package's own output."""
    q, v = vectors(64, torch.float32)
    theirs = installed.LSHAttention(
        bucket_size=8,
        n_hashes=options["hashes"],
        causal=causal,
        allow_duplicate_attention=not options.get("count_once", False),
        attend_across_buckets=options.get("across_buckets", True),
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected, _, _ = theirs(q.flatten(0, 1), v.flatten(0, 1))
    found = attention("package", causal=causal, seed=5, **options)(q, q, v)
    assert torch.equal(found.flatten(0, 1), expected)


def test_a_repeated_run_takes_the_buckets_of_the_first(installed: Any) -> None:
    q, v = vectors(64)
    layer = attention("package")
    replay = Replay(q.device)
    with replay.recording():
        expected = layer(q, q, v)
    other = LSHReformerPytorchOptions(chunk=8, hashes=3, seed=1)
    changed = LSHReformerPytorchAttention(other, causal=True, impl="package", head_dim=DIM)
    assert not torch.equal(changed(q, q, v), expected)
    with replay.repeating():
        assert torch.equal(changed(q, q, v), expected)


def test_half_precision_is_refused_where_the_package_is_wrong_in_it(installed: Any) -> None:
    q, v = vectors(64, torch.bfloat16)
    with pytest.raises(Unsupported, match="as many times its value as there are rounds"):
        attention("package")(q, q, v)
    attention("package", hashes=1)(q, q, v)
    raw = installed.LSHAttention(bucket_size=8, n_hashes=3, causal=True)
    out, _, _ = raw(q.flatten(0, 1), v.flatten(0, 1))
    torch.testing.assert_close(out[:, 0], 3 * v.flatten(0, 1)[:, 0])  # the defect itself


def test_without_the_package_the_message_is_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "reformer_pytorch", None)
    with pytest.raises(Unsupported, match=r"pip install reformer-pytorch==1\.4\.4 "):
        attention("package")
    attention("reference")
