"""The original's LSH attention: its buckets, its circle, its sums over all pairs."""

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from models.kernels.circular import hash_and_sort, neighbours
from models.variants.lsh import LSHAttention, LSHOptions
from models.variants.lsh_huggingface import LSHHuggingFaceAttention, LSHHuggingFaceOptions

DIM = 8
WINDOWS: list[dict[str, Any]] = [
    {"hashes": 1},
    {"hashes": 4},
    {"hashes": 3, "before": 0},
    {"hashes": 2, "before": 2, "after": 1},
    {"hashes": 1, "before": 7, "after": 9},  # further than around
    {"hashes": 3, "buckets": [2, 4, 2]},
    {"hashes": 2, "pad_over": 4, "pad_to": 24},
]


def attention(impl: str = "chunked", *, causal: bool = True, **options: Any) -> Any:
    return LSHHuggingFaceAttention(
        LSHHuggingFaceOptions(**{"chunk": 8, "hashes": 3, **options}),
        causal=causal,
        impl=impl,
        head_dim=DIM,
    )


def vectors(length: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 2, length, DIM)
    q, v = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in "qv")
    return [q, q, v]


def some_padding(length: int) -> Tensor:
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[0, :2] = mask[1, length // 2 :] = False
    mask[1, 0] = False
    return mask


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [9, 61])
@pytest.mark.parametrize("options", WINDOWS)
def test_the_chunks_sum_to_the_definition_over_all_pairs(
    options: dict[str, Any], length: int, causal: bool, masked: bool
) -> None:
    tensors = [x.requires_grad_() for x in vectors(length)]
    mask = some_padding(length) if masked else None
    results: list[list[Tensor]] = []
    for impl in ("chunked", "reference"):
        out = attention(impl, causal=causal, **options)(*tensors, mask)
        weights = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
        leaves = [tensors[0], tensors[2]]
        results.append([out, *torch.autograd.grad((out * weights).sum(), leaves)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("causal", [True, False])
def test_padding_is_not_seen_and_gets_no_output(causal: bool) -> None:
    mask = some_padding(40)
    q, k, v = vectors(40)
    other = vectors(40, seed=1)
    changed = [
        torch.where(mask[:, None, :, None], x, y) for x, y in zip((q, k, v), other, strict=True)
    ]
    for impl in ("chunked", "reference"):
        layer = attention(impl, causal=causal)
        out = layer(q, k, v, mask)
        assert torch.equal(layer(*changed, mask), out)
        assert not out[~mask[:, None].expand(2, 2, -1)].any()
        rows = torch.tensor([0, 39, 7])
        torch.testing.assert_close(layer.rows(q, k, v, rows, mask), out[:, :, rows])


@pytest.mark.parametrize("chunk", [2, 8, 64])
@pytest.mark.parametrize("positions", [64, 512, 4096, 524288])
def test_the_number_of_buckets_is_the_original_s(
    transformers: ModuleType, chunk: int, positions: int
) -> None:
    reformer = transformers.models.reformer.modeling_reformer
    for chunks in (1, 2, 3, 4, 7, 8, 31, 32, 33, 64, 1000, 5000):
        layer = SimpleNamespace(
            chunk_length=chunk, max_position_embeddings=positions, config=SimpleNamespace()
        )
        reformer.LSHSelfAttention._set_num_buckets(layer, chunks * chunk)
        options = LSHHuggingFaceOptions(chunk=chunk, max_positions=positions)
        expected = [layer.num_buckets] if isinstance(layer.num_buckets, int) else layer.num_buckets
        assert options.factors(chunks * chunk) == expected


@pytest.mark.parametrize("buckets", [6, [8], [4, 6], [2, 4, 2]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rotations_and_order_are_the_original_s(
    transformers: ModuleType, dtype: torch.dtype, buckets: int | list[int]
) -> None:
    reformer = transformers.models.reformer.modeling_reformer
    x, keep = vectors(30)[0].to(dtype), torch.rand(2, 30) > 0.2
    layer = SimpleNamespace(num_buckets=buckets, hash_seed=11, num_attention_heads=2)
    with torch.random.fork_rng():
        found = reformer.LSHSelfAttention._hash_vectors(layer, x, 3, keep)
    order, _ = reformer.LSHSelfAttention._get_sorted_bucket_idx_and_undo_sorted_bucket_idx(
        layer, 30, found, 3
    )
    factors = [buckets] if isinstance(buckets, int) else buckets
    state = torch.get_rng_state()
    ours = hash_and_sort(x, keep, rounds=3, factors=factors, seed=11)
    assert torch.equal(ours.order.flatten(2), order % 30)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_original_sees_as_many_chunks_around_the_circle(transformers: ModuleType) -> None:
    mixin = transformers.models.reformer.modeling_reformer.EfficientAttentionMixin()
    for chunks in (1, 2, 3, 5):
        own = torch.arange(chunks).view(1, 1, chunks, 1)
        for before, after in ((1, 0), (0, 1), (2, 3), (7, 9)):
            expected = mixin._look_adjacent(own, before, after)[0, 0]
            assert torch.equal(neighbours(chunks, before, after), expected)


def test_rounds_meet_at_their_ends_and_those_of_lsh_do_not() -> None:
    """All keys are equal, so that every round sorts by position: its first chunk is the first."""
    q = torch.ones(1, 1, 32, DIM, dtype=torch.float64)
    v = torch.randn(1, 1, 32, DIM, dtype=torch.float64)
    other = v.clone()
    other[:, :, -1] += 1  # the last token, which the first chunk sees around the circle only
    ours = LSHAttention(LSHOptions(chunk=8), causal=False, impl="chunked", head_dim=DIM)
    theirs = attention(causal=False)
    assert torch.equal(ours(q, q, v)[:, :, :8], ours(q, q, other)[:, :, :8])
    assert (theirs(q, q, v) != theirs(q, q, other))[:, :, :8].all()


def test_where_no_window_goes_around_it_is_lsh() -> None:
    """One chunk, and no hash: exact shared-QK attention in both."""
    q, k, v = vectors(8)
    ours = LSHAttention(LSHOptions(chunk=8), causal=True, impl="chunked", head_dim=DIM)
    torch.testing.assert_close(attention()(q, k, v), ours(q, k, v), rtol=1e-12, atol=1e-12)


def test_single_precision_loses_a_token_that_meets_itself_alone_as_the_variant_says() -> None:
    """The first token sees itself, in some rounds twice: weights of log-sum-exps near -1e5."""
    q, k, v = vectors(64)
    exact = attention("reference", hashes=8)(q, k, v)
    error = (attention(hashes=8)(q.float(), k.float(), v.float()) - exact).abs()
    assert error[:, :, 1:].max() < 1e-5
    assert error.max() < 100 * 2e-5 * v.abs().max()


def test_training_sets_weights_to_zero_and_scales_the_others() -> None:
    """Values are unit vectors here, so that outputs are the weights."""
    q, k, _ = vectors(DIM)
    v = torch.eye(DIM, dtype=torch.float64).expand(2, 2, -1, -1)
    layer = attention(causal=False, attention_dropout=0.25)
    weights = layer.eval()(q, k, v)
    torch.manual_seed(0)
    found = layer.train()(q, k, v)
    dropped = found == 0
    assert 0.1 < dropped.double().mean() < 0.5
    torch.testing.assert_close(found, (weights / 0.75).masked_fill(dropped, 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hashes": 0}, "hashes, chunk are at least 1"),
        ({"buckets": 7}, "buckets: 7"),
        ({"buckets": [4, 3]}, r"buckets: \(4, 3\)"),
        ({"attention_dropout": 1.0}, "attention_dropout: 1.0"),
        ({"hash_dtype": "float16"}, "hash_dtype: 'float16'"),
        ({"pad_to": 12}, "pad_to: 12; a multiple of chunk 8"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attention(**options)
