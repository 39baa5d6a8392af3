"""Each defect of a public Reformer that concerns attention, and that this one has not."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from models.kernels import lsh_dispatch
from models.kernels.lsh_plan import LSHPlan, sorted_by
from models.reformer import Reformer, ReformerConfig
from models.variants.local import LocalAttention, LocalOptions
from models.variants.lsh import VARIANT, LSHAttention, LSHOptions

DIM = 8
# Each kind of block is compiled for seconds: that impl has tests/models/kernels/test_compiled.py.
IMPLS = tuple(i for i in VARIANT.impls if i != "compiled" and lsh_dispatch.runs_here(i))
impls = pytest.mark.parametrize("impl", IMPLS)


def attention(*, causal: bool = True, impl: str = "chunked", **values: Any) -> LSHAttention:
    options = LSHOptions(**{"hashes": 2, "chunk": 4, **values})
    return LSHAttention(options, causal=causal, impl=impl, head_dim=DIM)


def vectors(length: int, *, batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(length)
    q, v = torch.randn(2, batch, 2, length, DIM, generator=generator, dtype=torch.float64)
    return q, v


def plan_of(orders: list[list[int]]) -> LSHPlan:
    """Return the plan of one head whose rounds have these orders, all in one bucket."""
    order = torch.tensor(orders, dtype=torch.int32).expand(1, 2, -1, -1)
    return LSHPlan(order=order, place=order.argsort(-1).int(), bucket=torch.zeros_like(order))


def influence(lsh: LSHAttention, plan: LSHPlan, source: int, length: int) -> list[int]:
    """Return the positions whose outputs change with the value at `source`."""
    q, v = vectors(length)
    changed = v.clone()
    changed[:, :, source] += 1
    difference = lsh.attend(q, v, plan) - lsh.attend(q, changed, plan)
    return difference.abs().amax((0, 1, 3)).nonzero().flatten().tolist()


@impls
def test_trax_hf_lucid_the_first_chunk_of_a_round_sees_the_last_of_the_one_before(
    impl: str,
) -> None:
    """On a circle over all rounds, 0 would see 15 (its round's end) and 12 (the round before)."""
    back = [*range(8, 16), *range(8)]
    lsh = attention(causal=False, impl=impl)
    plan = plan_of([list(range(16)), back])
    assert influence(lsh, plan, 15, 16) == [0, 1, 2, 3, 12, 13, 14]  # of round two: 12..15, 0..3
    assert influence(lsh, plan_of([list(range(16))] * 2), 15, 16) == [12, 13, 14]


@impls
def test_trax_v1_lucid_a_pair_that_wraps_counts_zero_times_and_gets_plus_20(impl: str) -> None:
    """With equal scores the output is the plain mean of all that is met, and no key outweighs."""
    lsh = attention(causal=False, impl=impl, count_once=True, after=0)
    q, v = vectors(16)
    q = torch.ones_like(q)
    plan = plan_of([list(range(16)), [*range(8, 16), *range(8)]])
    out = lsh.attend(q, v, plan)
    for i in range(16):
        met: set[int] = set()
        for order in plan.order[0, 0].tolist():
            chunk = order.index(i) // 4
            met |= set(order[max(0, chunk - 1) * 4 : chunk * 4 + 4]) - {i}
        torch.testing.assert_close(out[:, :, i], v[:, :, sorted(met)].mean(2))


def test_trax_the_sort_key_overflows_32_bits_at_half_a_million_tokens() -> None:
    """The key `length * bucket + position` would reach 2^19 * 16384 = 2^33."""
    length, buckets = 2**19, 2**14
    generator = torch.Generator().manual_seed(0)
    bucket = torch.randint(buckets, (length,), generator=generator, dtype=torch.int32)
    plan = sorted_by(bucket.view(1, 1, 1, -1))
    order = plan.order.flatten().long()
    key = bucket[order].long() * length + order
    assert (key.diff() > 0).all()
    assert torch.equal(plan.place.flatten()[order].long(), torch.arange(length))


@impls
@pytest.mark.parametrize("causal", [True, False])
def test_lucid_hf_the_self_mask_overrides_padding_and_causality(impl: str, causal: bool) -> None:
    """A padded token must not attend to itself: its output is zero, also if all is padding."""
    q, v = vectors(20)
    mask = torch.ones(1, 20, dtype=torch.bool)
    mask[:, 5:9] = False
    lsh = attention(causal=causal, impl=impl)
    assert not lsh(q, q, v, mask)[:, :, 5:9].any()
    assert not lsh(q, q, v, mask & False).any()


@impls
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_hf_in_half_precision_a_self_mask_of_minus_1000_loses_to_large_scores(
    impl: str, dtype: torch.dtype
) -> None:
    q, v = (x.to(dtype) for x in vectors(12))
    q = q * 300  # a token's score with itself is its norm, here about 800
    changed = v.clone()
    changed[:, :, 1] += 1
    lsh = attention(impl=impl, chunk=12)
    assert torch.equal(lsh(q, q, v)[:, :, 1], lsh(q, q, changed)[:, :, 1])
    assert lsh(q, q, v).isfinite().all()


@impls
@pytest.mark.parametrize("padded", [0, 1, 7, 19])
@pytest.mark.parametrize("causal", [True, False])
def test_trax_the_masked_positions_zero_and_one_are_never_masked(
    causal: bool, padded: int, impl: str
) -> None:
    q, v = vectors(20)
    mask = torch.ones(1, 20, dtype=torch.bool)
    mask[:, padded] = False
    other = v.clone()
    other[:, :, padded] += 5
    lsh = attention(causal=causal, impl=impl, buckets=4)
    torch.testing.assert_close(lsh(q, q, v, mask), lsh(q, q, other, mask), rtol=0, atol=0)
    local = LocalAttention(LocalOptions(chunk=4), causal=causal, impl="chunked", head_dim=DIM)
    torch.testing.assert_close(local(q, q, v, mask), local(q, q, other, mask), rtol=0, atol=0)


@pytest.mark.parametrize("chunk", [1, 3, 4, 7, 64])
def test_hf_the_automatic_bucket_count_is_odd_and_lucid_has_half_of_the_papers(chunk: int) -> None:
    options = LSHOptions(chunk=chunk)
    for length in (1, 2, 63, 64, 65, 127, 1000, 4097, 65536):
        factors = options.factors(length)
        assert all(f % 2 == 0 for f in factors)
        assert math.prod(factors) >= 2 * length / chunk


def test_hf_lucid_trax_evaluation_is_random_and_a_hash_seed_resets_the_global_state() -> None:
    q, v = vectors(50)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    lsh = attention(redraw=True)
    lsh(q, q, v)  # training draws, from its own generator
    lsh.eval()
    first = lsh(q, q, v)
    assert torch.equal(first, lsh(q, q, v))
    assert torch.equal(first, attention().eval()(q, q, v))
    assert torch.equal(torch.get_rng_state(), state)


def test_hf_every_decoding_step_hashes_with_other_rotations_than_the_cache() -> None:
    """The same vector again has the same bucket again, so it meets itself in all rounds."""
    q, v = vectors(30)
    lsh = attention(buckets=16, hashes=4, same_bucket=True)
    state = lsh.begin(q, q, v)
    for t in (3, 17, 29):
        one = slice(t, t + 1)
        _, state = lsh.step(q[:, :, one], q[:, :, one], v[:, :, one], state)
        buckets = lsh.plan(state.shared.tensor).bucket
        assert torch.equal(buckets[..., -1], buckets[..., t])
        place = (state.rounds.order == state.shared.length - 1).int().argmax(-1, keepdim=True)
        assert torch.equal(state.rounds.bucket.gather(-1, place)[..., 0], buckets[..., t])


def test_hf_rows_beyond_the_first_of_a_batch_decode_from_the_states_of_row_zero() -> None:
    q, v = vectors(40, batch=4)
    lsh = attention()
    state = lsh.begin(q[:, :, :-1], q[:, :, :-1], v[:, :, :-1])
    together, _ = lsh.step(q[:, :, -1:], q[:, :, -1:], v[:, :, -1:], state)
    for row in range(4):
        x, y = q[row : row + 1], v[row : row + 1]
        torch.testing.assert_close(together[row : row + 1], lsh(x, x, y)[:, :, -1:])


def test_hf_a_short_prompt_without_a_bucket_count_fails_once_it_outgrows_a_chunk() -> None:
    q, v = vectors(20)
    lsh = attention(chunk=8)
    state = lsh.begin(q[:, :, :2], q[:, :, :2], v[:, :, :2])
    for t in range(2, 20):
        one, upto = slice(t, t + 1), slice(t + 1)
        out, state = lsh.step(q[:, :, one], q[:, :, one], v[:, :, one], state)
        expected = lsh(q[:, :, upto], q[:, :, upto], v[:, :, upto])[:, :, -1:]
        torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("strict", [True, False])
def test_hf_lsh_and_dropout_together_train_on_wrong_gradients(strict: bool) -> None:
    """Rotations are drawn, weights dropped; the recomputation repeats both to the bit."""
    lsh = {"chunk": 4, "hashes": 2, "redraw": True, "attention_dropout": 0.3, "max_len": 40}
    options = {"lsh": {**lsh, "strict": strict}, "local": {"chunk": 4, "attention_dropout": 0.3}}

    def gradients(reversible: bool) -> list[Tensor]:
        torch.manual_seed(0)
        config = ReformerConfig(
            vocab=11,
            d_model=8,
            heads=2,
            d_ff=16,
            layers=2,
            max_len=20,
            attention=("local", "lsh"),
            attention_options=options,
            dropout=0.2,
            reversible=reversible,
        )
        model = Reformer(config).double()
        tokens = torch.randint(0, 11, (2, 18))
        found: list[Tensor] = []
        for _ in range(2):  # the second step has other rotations
            loss = model(tokens).logsumexp(-1).square().sum()
            found += torch.autograd.grad(loss, list(model.parameters()))
        return found

    for found, expected in zip(gradients(True), gradients(False), strict=True):
        assert (found - expected).norm() <= 1e-9 * expected.norm()


@impls
@pytest.mark.parametrize("causal", [True, False])
def test_lucid_several_rounds_have_wrong_gradients_and_zero_vectors_give_nan(
    causal: bool, impl: str
) -> None:
    options = LSHOptions(hashes=3, chunk=2, buckets=2)
    lsh = LSHAttention(options, causal=causal, impl=impl, head_dim=2)
    generator = torch.Generator().manual_seed(0)
    q, v = torch.randn(2, 1, 1, 6, 2, generator=generator, dtype=torch.float64)
    q[:, :, 4] = 0
    plan = lsh.plan(q)
    q[:, :, 4] = 1e-3  # at zero itself the guard of the norm bends too much for differences
    leaves = (q.requires_grad_(), v.requires_grad_())
    assert torch.autograd.gradcheck(lambda q, v: lsh.attend(q, v, plan), leaves)
    zero = torch.zeros_like(q).requires_grad_()
    (gradient,) = torch.autograd.grad(lsh(zero, zero, v).sum(), zero)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("length", [1, 3, 5, 6, 7, 9, 23])
def test_hf_lucid_a_length_must_be_a_multiple_and_trax_chunks_straddle_rounds(length: int) -> None:
    q, v = vectors(length)
    for hashes in (1, 3):
        lsh, plain = (attention(impl=impl, hashes=hashes) for impl in IMPLS)
        torch.testing.assert_close(lsh(q, q, v), plain(q, q, v))


def test_trax_hf_the_first_chunk_of_local_attention_sees_the_last() -> None:
    local = LocalAttention(LocalOptions(chunk=4), causal=False, impl="chunked", head_dim=DIM)
    q, v = vectors(16)
    changed = v.clone()
    changed[:, :, 12:] += 1
    assert torch.equal(local(q, q, v)[:, :, :8], local(q, q, changed)[:, :, :8])
