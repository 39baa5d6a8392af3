from __future__ import annotations

import pytest

from harness.grammar import rules
from harness.schema import Cell

CELL = Cell(
    contender="transformer-eager",
    model="transformer",
    attention="full",
    impl="eager",
    options={"hashes": 4, "mode": "fast"},
    phase="forward",
    seq_len=8192,
    batch=1,
    d_model=64,
    heads=4,
    d_ff=256,
    layers=2,
    vocab=256,
    causal=True,
    dtype="float32",
    device="cpu",
    threads=1,
    data="stdlib",
    seed=0,
)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("seq_len", "8k"),
        ("seq_len", "8192"),
        ("seq_len", "8192.0"),
        ("seq_len", ">4k"),
        ("seq_len", ">= 8k"),
        ("seq_len", "<=8k"),
        ("seq_len", "<9000"),
        ("seq_len", "!=4k"),
        ("contender", "transformer-eager"),
        ("contender", "*eager"),
        ("contender", "!=reformer"),
        ("causal", "true"),
        ("causal", "!=false"),
        ("options.hashes", "4"),
        ("options.hashes", ">2"),
        ("options.mode", "fast"),
    ],
)
def test_a_condition_holds(field: str, text: str) -> None:
    assert rules.condition(field, text).holds(CELL)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("seq_len", "4k"),
        ("seq_len", "81*"),
        ("seq_len", ">8k"),
        ("seq_len", "<8k"),
        ("seq_len", "!=8k"),
        ("seq_len", ">x"),
        ("contender", "transformer"),
        ("contender", ">reformer"),
        ("causal", "1"),
        ("seed", "false"),
        ("options.chunk", "64"),
        ("options.chunk", "!=64"),
    ],
)
def test_a_condition_does_not_hold(field: str, text: str) -> None:
    assert not rules.condition(field, text).holds(CELL)


def test_a_rule_needs_one_alternative_of_every_field() -> None:
    lengths = tuple(rules.condition("seq_len", text) for text in ("4k", "8k"))
    eager = (rules.condition("contender", "*eager"),)
    other = (rules.condition("phase", "train_step"),)
    assert rules.Rule(alternatives=(lengths, eager), reason="why").matches(CELL)
    assert not rules.Rule(alternatives=(lengths, other), reason="why").matches(CELL)
