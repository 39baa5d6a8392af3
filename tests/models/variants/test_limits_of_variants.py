"""Where an approximation must become exact, it does; and what each variant has of its own."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from models.kernels.block_pattern import BlockPattern
from models.layers.attention_layer import AttentionLayer
from models.layers.replay import Replay
from models.transformer import ModelConfig, Transformer
from models.variant import VARIANTS, Unsupported
from models.variants.performer import orthogonal

DIM, HEADS = 8, 4


def make(name: str, causal: bool = True, impl: str | None = None, **options: Any) -> Any:
    variant = VARIANTS.load(name)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        built = variant.build(
            variant.options(**options),
            causal=causal,
            impl=impl or variant.impls[0],
            head_dim=DIM,
            heads=HEADS,
            max_len=100,
        )
    return built.double().eval()


def vectors(length: int, heads: int = HEADS, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, heads, length, DIM)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in "qkv"]


EXACT = [
    ("dilated", {"dilation": 1, "window": 99}, True),
    ("dilated", {"dilation": 1, "window": 99}, False),
    ("global_local", {"block": 8, "near": 12}, True),
    ("global_local", {"block": 8, "near": 12}, False),
    ("global_local", {"block": 128}, True),
    ("hyper", {"block": 8, "samples": 99, "exact": 16}, True),
    ("hyper", {"block": 8, "samples": 99}, False),
    ("hyper", {"exact": 99}, True),
    ("nystromformer", {"landmarks": 99, "iterations": 60}, False),
]


@pytest.mark.parametrize(("name", "options", "causal"), EXACT)
def test_a_mechanism_that_sees_all_is_full_attention(
    name: str, options: dict[str, Any], causal: bool
) -> None:
    tensors = vectors(99)
    found = make(name, causal, **options)(*tensors)
    torch.testing.assert_close(found, make("full", causal)(*tensors), rtol=1e-6, atol=1e-8)


def test_routing_with_one_chunk_is_lsh_with_one_chunk() -> None:
    q, _, v = vectors(60)
    found = make("routing", chunk=64)(q, q, v)
    torch.testing.assert_close(found, make("lsh", chunk=64)(q, q, v))


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("impl", ["sdpa", "eager"])
def test_grouped_queries_are_full_attention_with_repeated_keys(impl: str, kv_heads: int) -> None:
    q, _, _ = vectors(20)
    _, k, v = vectors(20, kv_heads)
    repeated = (x.repeat_interleave(HEADS // kv_heads, dim=1) for x in (k, v))
    found = make("grouped_query", impl=impl, kv_heads=kv_heads)(q, k, v)
    torch.testing.assert_close(found, make("full")(q, *repeated))


def test_fewer_key_heads_are_projected_and_kept() -> None:
    attention = make("grouped_query", kv_heads=2).float()
    layer = AttentionLayer(attention, d_model=32, heads=HEADS, head_dim=DIM)
    assert layer.key is not None
    assert layer.key.weight.shape == layer.value.weight.shape == (16, 32)
    out, state = layer.begin(torch.randn(2, 5, 32))
    assert out.shape == (2, 5, 32)
    assert state.k.tensor.shape == (2, 2, 5, DIM)
    with pytest.raises(ValueError, match="3 do not divide the 4 heads"):
        AttentionLayer(make("grouped_query", kv_heads=3), d_model=32, heads=HEADS, head_dim=DIM)


def test_performer_s_weights_have_the_softmax_kernel_as_their_mean() -> None:
    q, k, v = (x / 2 for x in vectors(40))
    exact = make("full", causal=False)(q, k, v)
    errors = []
    for features in (64, 4096):
        out = make("performer", causal=False, features=features)(q, k, v)
        errors.append((out - exact).norm() / exact.norm())
    assert errors[1] < 0.06 < errors[0]
    directions = orthogonal(20, DIM, seed=3)[:DIM]
    products = directions @ directions.T
    torch.testing.assert_close(products - products.diag().diag(), torch.zeros(DIM, DIM))


def test_gates_that_are_open_make_plain_sums_and_shut_ones_forget() -> None:
    q, k, v = vectors(40)
    attention = make("gated_linear")
    with torch.no_grad():
        attention.gate.weight.zero_()
        attention.gate.bias.fill_(1e4)
    plain = (q @ k.mT).tril() @ v / math.sqrt(DIM)
    torch.testing.assert_close(attention(q, k, v), plain)
    with torch.no_grad():
        attention.gate.bias.fill_(-1e4)
    alone = (q * k).sum(-1, keepdim=True) * v / math.sqrt(DIM)
    torch.testing.assert_close(attention(q, k, v), alone, rtol=0.1, atol=0.5)


def test_states_of_linear_mechanisms_do_not_grow() -> None:
    for name in ("linear", "performer", "gated_linear"):
        sizes = set()
        for length in (3, 90):
            state = make(name).begin(*vectors(length))
            sizes.add(sum(getattr(state, field).numel() for field in state.__slots__))
        assert len(sizes) == 1


def test_linformer_needs_a_longest_length_and_keeps_to_it() -> None:
    variant = VARIANTS.load("linformer")
    with pytest.raises(Unsupported, match="max_len"):
        variant.build(variant.options(), causal=False, impl="eager", head_dim=DIM)
    with pytest.raises(ValueError, match="101 tokens; 100 at most"):
        make("linformer", causal=False)(*vectors(101))
    config = ModelConfig(
        vocab=9, d_model=8, heads=2, d_ff=8, layers=1, max_len=12, causal=False,
        attention="linformer", positions="learned",
    )  # fmt: skip
    assert Transformer(config)(torch.zeros(1, 12, dtype=torch.long)).shape == (1, 12, 9)


def test_centroids_learn_in_training_once_for_each_run() -> None:
    q, _, v = vectors(80)
    attention = make("routing", clusters=4, decay=0.5).train()
    before = attention.centroids.clone()
    replay = Replay(q.device)
    with replay.recording():
        first = attention(q, q, v)
    moved = attention.centroids.clone()
    assert not torch.equal(moved, before)
    torch.testing.assert_close(moved.norm(dim=-1), torch.ones(HEADS, 4, dtype=torch.float64))
    with replay.repeating():
        assert torch.equal(attention(q, q, v), first)
    attention.eval()(q, q, v)
    assert torch.equal(attention.centroids, moved)


@pytest.mark.parametrize("causal", [True, False])
def test_drawn_blocks_are_before_the_block_and_do_not_depend_on_the_length(causal: bool) -> None:
    pattern = BlockPattern(near=1, globals=1, random=3, seed=2, causal=causal)
    rows = torch.arange(40)
    matrix = pattern.matrix(rows, 40)
    assert matrix[0].all()
    assert matrix[:, 0].all()
    assert (matrix[5:].sum(dim=1) > (3 if causal else 4)).any()
    if causal:
        assert not matrix[1:].triu(2).any()
        assert torch.equal(pattern.matrix(rows[:20], 20)[1:], matrix[1:20, :20])
