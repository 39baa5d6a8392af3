from __future__ import annotations

from typing import Any

import pytest

from harness.grammar.overrides import apply


def tree() -> dict[str, Any]:
    return {
        "contenders": [{"id": "full", "model": "transformer"}, {"id": "reformer", "options": {}}],
        "axes": {"seq_len": {"cpu": [1]}, "phase": ["forward"]},
        "fixed": {"batch": 1},
        "name": "x",
    }


@pytest.mark.parametrize(
    ("override", "keys", "value"),
    [
        ("fixed.batch=4", ("fixed", "batch"), 4),
        ("fixed.dtype={cpu: float32}", ("fixed", "dtype"), {"cpu": "float32"}),
        ("axes.seq_len=[1k, 2k]", ("axes", "seq_len"), ["1k", "2k"]),
        ("axes.seq_len.cpu=[2]", ("axes", "seq_len", "cpu"), [2]),
        ("axes.options.hashes=[1]", ("axes", "options.hashes"), [1]),
        ("contenders[0].impl=eager", ("contenders", 0, "impl"), "eager"),
        ("contenders[1]={id: x}", ("contenders", 1, "id"), "x"),
        ("contenders.1.impl=eager", ("contenders", 1, "impl"), "eager"),
        ("contenders.reformer.options.hashes=8", ("contenders", 1, "options", "hashes"), 8),
        ("contenders.full.options.chunk=8", ("contenders", 0, "options", "chunk"), 8),
        ("protocol.timeout_s=1e-3", ("protocol", "timeout_s"), 0.001),
        ("data.path=a=b", ("data", "path"), "a=b"),
        ("gate=", ("gate",), None),
    ],
)
def test_an_override_sets_the_value_at_its_path(
    override: str, keys: tuple[Any, ...], value: object
) -> None:
    changed: Any = tree()
    assert apply(changed, [override]) == []
    for key in keys:
        changed = changed[key]
    assert changed == value


def test_later_overrides_win() -> None:
    changed = tree()
    assert apply(changed, ["fixed.batch=2", "fixed.batch=3"]) == []
    assert changed["fixed"] == {"batch": 3}


def test_a_field_moves_between_axes_and_fixed() -> None:
    changed = tree()
    apply(changed, ["fixed.seq_len=1k", "fixed.phase=forward", "axes.batch=[1, 2]"])
    assert changed["axes"] == {"batch": [1, 2]}
    assert changed["fixed"] == {"seq_len": "1k", "phase": "forward"}


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("fixed.batch", "expected path=value, such as fixed.batch=4"),
        ("=4", "expected path=value"),
        ("fixed..batch=4", "expected path=value"),
        ("contenders[-1].impl=x", "expected path=value"),
        ("contenders[9].impl=x", "there is no entry 9; there are 2, counted from 0"),
        ("contenders.reforme.impl=x", "no entry has the id 'reforme'; did you mean 'reformer'?"),
        ("contenders.zzz.impl=x", "no entry has the id 'zzz'; ids: full, reformer"),
        ("name.x=1", "name has nothing inside to set"),
        ("fixed.batch=[1", "the value: line 1, column 3: expected ',' or ']'"),
        ("fixed.batch=!x 1", "the value: line 1, column 1: a suite has no YAML tags"),
    ],
)
def test_an_override_that_leads_nowhere_says_why(override: str, problem: str) -> None:
    (found,) = apply(tree(), [override])
    assert found.startswith(f"--set {override}: {problem}")


@pytest.mark.parametrize("document", [None, "text", 3, []])
def test_a_document_without_sections_takes_no_override(document: object) -> None:
    assert len(apply(document, ["fixed.batch=4"])) == 1
