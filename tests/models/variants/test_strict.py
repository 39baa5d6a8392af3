"""Strict causality: later tokens have no say in what earlier ones meet. By default they have."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.kernels import lsh_dispatch
from models.reformer import Reformer, ReformerConfig
from models.variants.lsh import VARIANT, LSHAttention, LSHOptions

DIM, LENGTH = 8, 120
# Each kind of block is compiled for seconds: that impl has tests/models/kernels/test_compiled.py.
IMPLS = tuple(i for i in VARIANT.impls if i != "compiled" and lsh_dispatch.runs_here(i))
impls = pytest.mark.parametrize("impl", IMPLS)
STRICT: dict[str, dict[str, Any]] = {
    "by max_len": {"max_len": 128},
    "by buckets": {"buckets": 6, "hashes": 1},
    "factorised, far": {"buckets": (4, 2), "before": 2},
    "counts once": {"max_len": 128, "count_once": True},
}
settings = pytest.mark.parametrize("values", STRICT.values(), ids=STRICT.keys())


def attention(impl: str = "chunked", **values: Any) -> LSHAttention:
    options = LSHOptions(**{"chunk": 8, "hashes": 3, **values})
    return LSHAttention(options, causal=True, impl=impl, head_dim=DIM)


def vectors(length: int = LENGTH) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    q, v = torch.randn(2, 2, 2, length, DIM, generator=generator, dtype=torch.float64)
    return q, v


def influence_on_the_past(lsh: LSHAttention, t: int) -> float:
    """Return how much other tokens from t on change the outputs before."""
    q, v = vectors()
    other_q, other_v = (torch.cat([x[:, :, :t], 2 * x[:, :, t:].flip(2) - 1], 2) for x in (q, v))
    return float((lsh(q, q, v) - lsh(other_q, other_q, other_v))[:, :, :t].abs().max())


@impls
@settings
def test_editing_later_tokens_changes_no_earlier_output(values: dict[str, Any], impl: str) -> None:
    lsh = attention(impl, strict=True, **values)
    assert max(influence_on_the_past(lsh, t) for t in (1, 37, 119)) <= 1e-12


@impls
def test_by_default_the_side_channel_is_there_as_in_every_chunked_lsh(impl: str) -> None:
    lsh = attention(impl, max_len=128)
    assert max(influence_on_the_past(lsh, t) for t in (37, 119)) > 1e-3


@settings
def test_outputs_of_a_prefix_are_the_prefix_of_the_outputs(values: dict[str, Any]) -> None:
    lsh = attention(strict=True, **values)
    q, v = vectors()
    whole = lsh(q, q, v)
    for n in (1, 8, 9, 63, 119):
        prefix = lsh(q[:, :, :n], q[:, :, :n], v[:, :, :n])
        torch.testing.assert_close(prefix, whole[:, :, :n], rtol=1e-12, atol=1e-12)


@settings
def test_steps_equal_the_whole_forward_exactly(values: dict[str, Any]) -> None:
    lsh = attention(strict=True, **values)
    q, v = vectors(60)
    whole = lsh(q, q, v)
    state = lsh.begin(q[:, :, :1], q[:, :, :1], v[:, :, :1])
    for t in range(1, 60):
        one = slice(t, t + 1)
        out, state = lsh.step(q[:, :, one], q[:, :, one], v[:, :, one], state)
        torch.testing.assert_close(out, whole[:, :, one], rtol=1e-12, atol=1e-12)


def test_a_query_meets_the_last_keys_of_its_own_bucket() -> None:
    lsh = attention(strict=True, buckets=4, hashes=1, before=1, chunk=3)
    q, _ = vectors(40)
    bucket = lsh.plan(q).bucket[0, 0, 0].tolist()
    units = torch.eye(40, dtype=torch.float64)
    seen = torch.stack(
        [lsh(q, q, u.view(1, 1, -1, 1).expand_as(q))[0, 0, :, 0] > 0 for u in units], dim=1
    )
    for i in range(40):
        mates = [j for j in range(i) if bucket[j] == bucket[i]]
        assert seen[i].nonzero().flatten().tolist() == (mates[-3:] or [i])


@pytest.mark.parametrize("kinds", [("lsh",), ("local", "lsh")])
@pytest.mark.parametrize("strict", [True, False])
def test_no_earlier_logit_of_a_whole_reformer_knows_a_later_token(
    strict: bool, kinds: tuple[str, ...]
) -> None:
    options = {"chunk": 8, "hashes": 3, "max_len": 96, "strict": strict}
    config = ReformerConfig(
        vocab=20,
        d_model=16,
        heads=2,
        d_ff=32,
        layers=2,
        max_len=96,
        attention=kinds,
        attention_options={"lsh": options},
    )
    torch.manual_seed(0)
    model = Reformer(config).double().eval()
    for parameter in model.parameters():  # new weights are small: their attention is nearly even
        parameter.data *= 8 if parameter.dim() > 1 else 1
    tokens = torch.randint(0, 20, (2, 96))
    changed = 0.0
    with torch.no_grad():
        before = model(tokens)
        for t in (20, 95):
            edited = tokens.clone()
            edited[:, t] = (edited[:, t] + 7) % 20
            after = model(edited)
            changed = max(changed, float((before - after)[:, :t].abs().max()))
            assert (before - after)[:, t].abs().max() > 1e-3
    assert changed <= 1e-12 if strict else changed > 1e-3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "set buckets or max_len"),
        ({"buckets": 4, "after": 1}, "after is 0"),
        ({"buckets": 4, "before": 0}, "before is at least 1"),
        ({"max_len": 0}, "max_len: 0; at least 1"),
    ],
)
def test_what_strictness_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LSHOptions(strict=True, **values)


def test_strictness_is_for_causal_attention() -> None:
    with pytest.raises(ValueError, match="bidirectional"):
        LSHAttention(LSHOptions(strict=True, buckets=4), causal=False, impl="chunked", head_dim=DIM)
