"""LSH attention against the paper's sums written out, and the laws of its plan."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from models.kernels import lsh_dispatch
from models.kernels.lsh_plan import LSHPlan, bucket_factors
from models.kernels.unit_keys import unit_keys
from models.variants.lsh import VARIANT, LSHAttention, LSHOptions

DIM = 8
SETTINGS: dict[str, dict[str, Any]] = {
    "one round": {"hashes": 1},
    "several rounds": {},
    "looks ahead": {"after": 1},
    "looks far": {"before": 2, "after": 3},
    "own chunk": {"before": 0},
    "factorised": {"buckets": (4, 2)},
    "two buckets": {"buckets": 2},
    "cooler": {"logit_scale": "sqrt_d"},
    "own bucket": {"same_bucket": True},
    "counts once": {"count_once": True},
    "own bucket, counts once": {"same_bucket": True, "count_once": True, "after": 1},
}
settings = pytest.mark.parametrize("values", SETTINGS.values(), ids=SETTINGS.keys())
# Each kind of block is compiled for seconds: that impl has tests/models/kernels/test_compiled.py.
IMPLS = tuple(i for i in VARIANT.impls if i != "compiled" and lsh_dispatch.runs_here(i))
impls = pytest.mark.parametrize("impl", IMPLS)
directions = pytest.mark.parametrize("causal", [True, False])


def attention(*, causal: bool = True, impl: str = "chunked", **values: Any) -> LSHAttention:
    options = LSHOptions(**{"hashes": 3, "chunk": 4, **values})
    return LSHAttention(options, causal=causal, impl=impl, head_dim=DIM)


def vectors(length: int, *, batch: int = 1, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(length)
    return [
        torch.randn(batch, 2, length, DIM, generator=generator).to(dtype).requires_grad_()
        for _ in range(2)
    ]


def written_out(
    q: Tensor, v: Tensor, plan: LSHPlan, options: LSHOptions, *, causal: bool
) -> Tensor:
    """The paper's equations 11 to 16, one query at a time: the multiset of keys, then a softmax."""
    out = torch.zeros_like(v)
    length, m = q.shape[2], options.chunk
    scale = 1 if options.logit_scale == "unit" else 1 / math.sqrt(DIM)
    for b, h, i in torch.cartesian_prod(*(torch.arange(n) for n in q.shape[:3])).tolist():
        met: list[int] = []
        for r in range(plan.rounds):
            order, bucket = plan.order[b, h, r].tolist(), plan.bucket[b, h, r].tolist()
            chunk = order.index(i) // m
            low, high = max(0, chunk - options.before) * m, (chunk + options.after + 1) * m
            met += [
                j
                for j in order[low : min(high, length)]
                if j != i
                and (j < i or not causal)
                and (bucket[i] == bucket[j] or not options.same_bucket)
            ]
        if options.count_once:
            met = sorted(set(met))
        if not met:
            out[b, h, i] = v[b, h, i]
            continue
        scores = torch.stack([scale * (q[b, h, i] @ q[b, h, j]) / q[b, h, j].norm() for j in met])
        out[b, h, i] = torch.softmax(scores, 0) @ v[b, h, met]
    return out


@directions
@impls
@settings
def test_rounds_are_one_softmax_over_the_multiset_of_met_keys(
    values: dict[str, Any], impl: str, causal: bool
) -> None:
    lsh = attention(causal=causal, impl=impl, **values)
    q, v = vectors(27)
    plan = lsh.plan(q)
    expected = written_out(q, v, plan, lsh.options, causal=causal)
    found = lsh(q, q, v)
    # The guard of the norm, 1e-6 beside the mean square, is all that differs.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    one = torch.autograd.grad(found.square().sum(), (q, v))
    other = torch.autograd.grad(expected.square().sum(), (q, v))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@directions
@impls
@pytest.mark.parametrize("length", [1, 2, 5, 32])
def test_what_fits_into_one_chunk_is_exact_shared_attention(
    length: int, impl: str, causal: bool
) -> None:
    q, v = vectors(length)
    scores = q @ unit_keys(q).mT
    allowed = ~torch.eye(length, dtype=torch.bool)
    if causal:
        allowed = allowed.tril()
    allowed[0, 0] |= causal or length == 1  # no other key: the token itself
    expected = torch.softmax(scores.masked_fill(~allowed, -math.inf), -1) @ v
    found = attention(causal=causal, impl=impl, chunk=32)(q, q, v)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@impls
def test_one_bucket_is_exact_attention_where_windows_reach_everything(impl: str) -> None:
    q, v = vectors(30)
    wide = attention(impl=impl, before=9, after=9, count_once=True)(q, q, v)
    exact = attention(impl=impl, chunk=30)(q, q, v)
    torch.testing.assert_close(wide, exact, rtol=1e-12, atol=1e-12)


@impls
def test_the_first_chunk_never_meets_the_last(impl: str) -> None:
    lsh = attention(causal=False, impl=impl, before=1, after=1, hashes=2)
    q, v = vectors(16)
    order = torch.arange(16, dtype=torch.int32).expand(1, 2, 2, 16)
    plan = LSHPlan(order=order, place=order, bucket=torch.zeros_like(order))
    changed = torch.cat([v[:, :, :12], v[:, :, 12:] + 1], dim=2)
    difference = (lsh.attend(q, v, plan) - lsh.attend(q, changed, plan)).abs().amax((0, 1, 3))
    assert (difference[:8] == 0).all()
    assert (difference[8:] > 0).all()


@impls
def test_a_token_without_any_other_key_keeps_its_own_value(impl: str) -> None:
    q, v = vectors(40, dtype=torch.float32)
    found = attention(impl=impl)(q, q, v)
    assert torch.equal(found[:, :, 0], v[:, :, 0])
    (gradient,) = torch.autograd.grad(found[:, :, 0].sum(), q, allow_unused=True)
    assert gradient is None or not gradient.any()


@directions
@pytest.mark.parametrize("size", [0.0, 1e-3, 1.0, 100.0])
def test_float32_agrees_with_float64_whatever_the_size_of_the_logits(
    size: float, causal: bool
) -> None:
    q, v = (x.detach() * factor for x, factor in zip(vectors(200), (size, 1.0), strict=True))
    exact = attention(causal=causal, impl="reference")(q, q, v)
    found = attention(causal=causal)(q.float(), q.float(), v.float())
    # Scores of size 100 |q| carry rounding errors of that size into their exponentials.
    limit = 3e-6 * max(1.0, size)
    torch.testing.assert_close(found.double(), exact, rtol=limit, atol=limit)


def test_the_key_input_is_ignored() -> None:
    q, v = vectors(20)
    lsh = attention()
    assert torch.equal(lsh(q, q, v), lsh(q, torch.full_like(q, math.nan), v))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keys_are_normalised_as_the_authors_do(dtype: torch.dtype) -> None:
    for size in (0.0, 1e-3, 1.0):
        q = size * torch.randn(1, 1, 3, DIM)
        expected = q / (q.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt() / math.sqrt(DIM)
        torch.testing.assert_close(unit_keys(q.to(dtype)), expected.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_float64_reference_hashes_as_the_model_that_it_checks(dtype: torch.dtype) -> None:
    x = torch.randn(2, 2, 500, DIM).to(dtype)
    one, other = attention().plan(x), attention().plan(x.double())
    assert torch.equal(one.bucket, other.bucket)
    assert torch.equal(one.order, other.order)


def test_plan_sorts_stably_by_bucket_and_position() -> None:
    x = torch.randn(2, 3, 50, DIM)
    plan = attention().plan(x)
    assert plan.order.shape == (2, 3, 3, 50)
    for b, h, r in torch.cartesian_prod(torch.arange(2), *[torch.arange(3)] * 2).tolist():
        bucket, order = plan.bucket[b, h, r].tolist(), plan.order[b, h, r].tolist()
        assert order == sorted(range(50), key=lambda i, bucket=bucket: (bucket[i], i))
        assert [order[p] for p in plan.place[b, h, r].tolist()] == list(range(50))


def test_direction_alone_decides_the_bucket_and_opposites_never_share_it() -> None:
    x = torch.randn(1, 1, 50, DIM)
    both = torch.cat([x, x * 7, -x], dim=2)
    bucket = attention(buckets=16).plan(both).bucket[0, 0]
    assert torch.equal(bucket[:, :50], bucket[:, 50:100])
    assert (bucket[:, :50] != bucket[:, 100:]).all()
    assert bucket.min() >= 0
    assert bucket.max() < 16


def test_rounds_heads_and_seeds_hash_differently_and_a_seed_hashes_alike() -> None:
    x = torch.randn(1, 1, 200, DIM).expand(1, 2, -1, -1)
    lsh = attention(seed=5)
    plan = lsh.plan(x)
    assert torch.equal(plan.bucket, attention(seed=5).plan(x).bucket)
    assert not torch.equal(plan.bucket, attention(seed=6).plan(x).bucket)
    assert not torch.equal(plan.bucket[:, 0], plan.bucket[:, 1])
    assert not torch.equal(plan.bucket[:, :, 0], plan.bucket[:, :, 1])


@pytest.mark.parametrize(
    ("length", "chunk", "factors"),
    [
        (65, 64, [4]),
        (1024, 64, [32]),
        (4096, 64, [128]),
        (4097, 64, [16, 10]),
        (8192, 64, [16, 16]),
        (16384, 64, [32, 16]),
        (524288, 64, [128, 128]),
    ],
)
def test_there_are_two_buckets_a_chunk_in_factors_near_the_root(
    length: int, chunk: int, factors: list[int]
) -> None:
    assert bucket_factors(None, length, chunk) == factors
    assert math.prod(factors) >= 2 * math.ceil(length / chunk)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"buckets": 7}, "buckets: 7"),
        ({"buckets": (4, 3)}, r"buckets: \(4, 3\)"),
        ({"buckets": 0}, "buckets: 0"),
        ({"hashes": 0}, "at least 1"),
        ({"chunk": 0}, "at least 1"),
        ({"before": -1}, "at least"),
        ({"attention_dropout": 1.0}, "attention_dropout: 1.0; at least 0 and below 1"),
    ],
)
def test_impossible_options_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LSHOptions(**values)


def test_bucket_factors_from_a_file_may_be_a_list() -> None:
    assert LSHOptions(buckets=[4, 6]).buckets == (4, 6)


def test_a_plan_used_again_gives_the_same_attention_although_vectors_moved() -> None:
    lsh = attention()
    q, v = vectors(60)
    plan = lsh.plan(q)
    moved = q + 1e-3 * torch.randn_like(q)
    reference = attention(impl="reference")
    torch.testing.assert_close(lsh.attend(moved, v, plan), reference.attend(moved, v, plan))


def test_rotations_may_be_passed_in_and_decide_the_buckets() -> None:
    q, v = vectors(30)
    lsh = attention(buckets=4, hashes=1, seed=1)
    given = torch.zeros(2, DIM, 1, 2)
    given[:, 0, :, 0] = given[:, 1, :, 1] = 1  # the first two coordinates decide
    first = q[..., :2].detach()
    expected = torch.cat([first, -first], -1).argmax(-1)
    assert torch.equal(lsh.plan(q, None, given).bucket[:, :, 0].long(), expected)
    plan = lsh.plan(q, None, given)
    torch.testing.assert_close(lsh(q, q, v, rotations=given), lsh.attend(q, v, plan))


def test_redrawn_rotations_differ_each_time_in_training_and_repeat_from_a_saved_state() -> None:
    lsh, q = attention(redraw=True, buckets=8, seed=3), vectors(40)[0].detach()
    buckets = [lsh.plan(q).bucket for _ in range(3)]
    assert not torch.equal(buckets[0], buckets[1])
    assert not torch.equal(buckets[1], buckets[2])
    saved = {name: value.clone() for name, value in lsh.state_dict().items()}
    fourth = lsh.plan(q).bucket
    other = attention(redraw=True, buckets=8, seed=3)
    assert torch.equal(other.plan(q).bucket, buckets[0])
    other.load_state_dict(saved)
    assert torch.equal(other.plan(q).bucket, fourth)
    lsh.eval()
    assert torch.equal(lsh.plan(q).bucket, attention(buckets=8, seed=3).plan(q).bucket)


@impls
def test_dropout_takes_normalised_weights_away_in_training_only(impl: str) -> None:
    """Scores are equal, so what is left of a row is the number of its kept keys."""
    length, share = 16, 0.4
    lsh = attention(impl=impl, chunk=length, attention_dropout=share)
    q, v = torch.ones(1, 2, length, DIM), torch.ones(1, 2, length, DIM)
    out = lsh(q, q, v)[..., 0]
    kept = out * (1 - share) * torch.arange(length)
    torch.testing.assert_close(kept[..., 1:], kept[..., 1:].round(), rtol=0, atol=1e-4)
    assert (out[..., 1:] != 1).any()
    torch.testing.assert_close(lsh.eval()(q, q, v), v)


@impls
def test_rounds_are_added_in_float32_whatever_the_vectors_are(impl: str) -> None:
    lsh = attention(impl=impl, hashes=8, buckets=4)
    q, v = (x.detach() for x in vectors(64))
    low = lsh(q.bfloat16(), q.bfloat16(), v.bfloat16()).double()
    plan = lsh.plan(q.bfloat16())
    exact = lsh.attend(q.bfloat16().double(), v.bfloat16().double(), plan)
    assert (low - exact).norm() < 0.02 * exact.norm()


def test_a_bucket_count_by_max_len_is_the_same_at_every_length() -> None:
    options = LSHOptions(chunk=8, max_len=64)
    assert [options.factors(n) for n in (1, 9, 64, 100)] == [[16]] * 4


@pytest.mark.parametrize("count_once", [True, False])
def test_a_step_inserts_and_hashes_again_only_when_the_bucket_count_changes(
    count_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lsh = attention(chunk=8, count_once=count_once)
    q, v = (x.detach() for x in vectors(33))
    state = lsh.begin(q[:, :, :1], q[:, :, :1], v[:, :, :1])
    sorts: list[int] = []
    plan = lsh.plan

    def counted(x: Tensor, *rest: Any) -> LSHPlan:
        sorts.append(x.shape[2])
        return plan(x, *rest)

    for t in range(1, 33):
        one, upto = slice(t, t + 1), slice(t + 1)
        expected = lsh(q[:, :, upto], q[:, :, upto], v[:, :, upto])[:, :, -1:]
        with monkeypatch.context() as patch:
            patch.setattr(lsh, "plan", counted)
            out, state = lsh.step(q[:, :, one], q[:, :, one], v[:, :, one], state)
        torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    assert sorts == [9, 17, 25, 33]
