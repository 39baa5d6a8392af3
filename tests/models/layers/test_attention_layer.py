"""Projections around a mechanism, and how a configuration names one."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from models.catalog import UnknownNameError
from models.layers.attention_layer import AttentionLayer, find_mechanism
from models.variant import VARIANTS, Unsupported
from models.variants.lsh import LSHAttention, LSHOptions


def layer(name: str, *, heads: int = 3, head_dim: int = 4) -> AttentionLayer:
    attention = find_mechanism(name).build(causal=True, head_dim=head_dim)
    return AttentionLayer(attention, d_model=10, heads=heads, head_dim=head_dim).double()


def test_each_head_attends_with_its_rows_of_the_projections() -> None:
    whole = layer("full")
    x = torch.randn(2, 7, 10, dtype=torch.float64)
    assert whole.key is not None
    expected = torch.zeros(2, 7, 10, dtype=torch.float64)
    for h in range(3):
        rows = slice(4 * h, 4 * h + 4)
        q, k, v = (x @ w.weight[rows].T for w in (whole.query, whole.key, whole.value))
        scores = (q @ k.mT / 2).masked_fill(torch.ones(7, 7).triu(1).bool(), -torch.inf)
        expected += torch.softmax(scores, -1) @ v @ whole.out.weight[:, rows].T
    torch.testing.assert_close(whole(x), expected)


def test_shared_queries_and_keys_save_one_projection() -> None:
    parameters = {
        name: sum(p.numel() for p in layer(name).parameters()) for name in ("full", "lsh")
    }
    assert parameters["full"] == 4 * 10 * 12
    assert parameters["lsh"] == 3 * 10 * 12


def test_each_layer_hashes_with_a_seed_of_its_own() -> None:
    mechanism = find_mechanism("lsh", {"seed": 7, "chunk": 4})
    one, two = (mechanism.build(causal=True, head_dim=4, layer=n) for n in (0, 1))
    x = torch.randn(1, 2, 50, 4)
    assert isinstance(one, LSHAttention)
    assert isinstance(two, LSHAttention)
    assert not torch.equal(one.plan(x).bucket, two.plan(x).bucket)


@pytest.mark.parametrize("options", [{"hashes": 2}, LSHOptions(hashes=2)])
@pytest.mark.parametrize("impl", [None, "auto", "chunked"])
def test_options_come_as_mapping_or_record_and_impl_has_a_default(options: Any, impl: Any) -> None:
    mechanism = find_mechanism("lsh", options, impl)
    assert mechanism.options == LSHOptions(hashes=2)
    assert mechanism.impl == (impl or "auto")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lhs",), "unknown variant 'lhs'; did you mean 'lsh'"),
        (("lsh", {"hash": 2}), "unknown option of lsh 'hash'; did you mean 'hashes'"),
        (("full", None, "spda"), "unknown impl of full 'spda'; did you mean 'sdpa'"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest(arguments: Any, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        find_mechanism(*arguments)


def test_a_variant_from_elsewhere_is_found_first_and_its_limits_are_kept() -> None:
    full = VARIANTS.load("full")
    variants = {"mine": replace(full, causal=False), "other": replace(full, bidirectional=False)}
    mine = find_mechanism("mine", variants=variants)
    assert not mine.build(causal=False, head_dim=4).shared_qk
    with pytest.raises(Unsupported, match="no causal form"):
        mine.build(causal=True, head_dim=4)
    with pytest.raises(Unsupported, match="no bidirectional form"):
        find_mechanism("other", variants=variants).build(causal=False, head_dim=4)


@pytest.mark.parametrize("name", ["full", "local", "lsh"])
def test_a_layer_decodes_as_it_attends_with_left_padding_and_reordered_rows(name: str) -> None:
    whole = layer(name)
    x = torch.randn(3, 9, 10, dtype=torch.float64)
    mask = torch.ones(3, 9, dtype=torch.bool)
    mask[1, :4] = False
    out, state = whole.begin(x[:, :7], mask[:, :7])
    torch.testing.assert_close(out, whole(x[:, :7], mask[:, :7]))
    out, state = whole.step(x[:, 7:8], state)
    torch.testing.assert_close(out, whole(x[:, :8], mask[:, :8])[:, -1:])
    rows = torch.tensor([1, 1, 2])
    out, _ = whole.step(x[rows, 8:9], whole.reorder(state, rows))
    torch.testing.assert_close(out, whole(x[rows], mask[rows])[:, -1:])
    assert not whole(x, mask)[1, :4].any()


def test_queries_attend_to_a_context_that_is_projected_once() -> None:
    attention = find_mechanism("full").build(causal=False, head_dim=4)
    whole = AttentionLayer(attention, d_model=10, heads=3, head_dim=4).double()
    x, context = torch.randn(3, 5, 10).double(), torch.randn(3, 8, 10).double()
    mask = torch.ones(3, 8, dtype=torch.bool)
    mask[1, 6:] = False
    out = whole(x, context=context, context_mask=mask)
    torch.testing.assert_close(out[1:2], whole(x[1:2], context=context[1:2, :6]))
    known = whole.begin_context(context, mask)
    torch.testing.assert_close(whole.attend_context(x[:, 2:3], known), out[:, 2:3])
    rows = torch.tensor([2, 1, 1])
    torch.testing.assert_close(whole.attend_context(x[rows], known.reorder(rows)), out[rows])


def test_shared_queries_and_keys_cannot_attend_to_another_sequence() -> None:
    with pytest.raises(Unsupported, match="LSHAttention attends within one sequence"):
        layer("lsh").begin_context(torch.randn(2, 5, 10, dtype=torch.float64))
