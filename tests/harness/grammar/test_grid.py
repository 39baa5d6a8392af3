from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.grammar import grid
from harness.grammar.document import SuiteError
from harness.grammar.rules import Rule, condition
from harness.schema import Cell, Contender

CONTENDERS = tuple(
    Contender(id=name, model="transformer", attention="full", impl="auto", options=options)
    for name, options in (("a", {}), ("b", {"hashes": 4}), ("c", {}))
)
FIXED: dict[str, Any] = {
    "batch": 1,
    "d_model": 64,
    "heads": 4,
    "layers": 2,
    "vocab": 256,
    "causal": True,
    "dtype": "float32",
    "device": "cpu",
    "threads": 1,
    "data": "stdlib",
    "seed": 0,
}
AXES: dict[str, tuple[Any, ...]] = {
    "phase": ("train_step", "forward"),
    "options.hashes": (2, 8),
    "seq_len": (1024, 512),
}
CELLS = grid.points(CONTENDERS, AXES, FIXED)


def group(cell: Cell) -> Cell:
    """Return what is left of a cell without its contender."""
    return replace(cell, contender="", model="", attention="", impl="", options={})


def test_points_are_the_product_with_the_last_axis_fastest() -> None:
    assert [(c.phase, c.seq_len) for c in CELLS[:4]] == [
        ("train_step", 1024),
        ("train_step", 512),
        ("forward", 1024),
        ("forward", 512),
    ]
    assert [c.options for c in CELLS[4:8:2]] == [{"hashes": 2}, {"hashes": 8}]
    assert Counter(c.contender for c in CELLS) == {"a": 4, "b": 8, "c": 4}
    assert len({c.id for c in CELLS}) == len(CELLS)


def test_the_width_of_the_feed_forward_follows_the_model_unless_it_is_given() -> None:
    axes = {"phase": ("forward",), "seq_len": (8,), "d_model": (64, 128)}
    fixed = {key: value for key, value in FIXED.items() if key != "d_model"}
    assert [c.d_ff for c in grid.points(CONTENDERS[:1], axes, fixed)] == [256, 512]
    assert [c.d_ff for c in grid.points(CONTENDERS[:1], axes, {**fixed, "d_ff": 7})] == [7, 7]


def test_a_grid_too_large_to_run_is_refused_before_it_is_made() -> None:
    with pytest.raises(SuiteError, match="make 3000000000000 cells; at most 10000"):
        grid.points(CONTENDERS, {"seq_len": range(10**6), "batch": range(10**6)}, FIXED)


def test_every_cell_is_kept_or_excluded_and_include_has_the_last_word() -> None:
    exclude = (Rule(alternatives=((condition("contender", "a"),),), reason="no"),)
    include = (Rule(alternatives=((condition("seq_len", "512"),),), reason="yes"),)
    judged = grid.judge(CELLS, exclude, include)
    assert {(r.cell.contender, r.cell.seq_len, r.reason) for r in judged.excluded} == {
        ("a", 1024, "no")
    }
    assert {(r.cell.contender, r.cell.seq_len, r.reason) for r in judged.included} == {
        ("a", 512, "yes")
    }
    left = {r.cell.id for r in judged.excluded}
    assert list(judged.cells) == [cell for cell in CELLS if cell.id not in left]


@given(seed=st.integers(0, 2**32 - 1), chosen=st.sets(st.integers(0, len(CELLS) - 1)))
def test_an_order_is_a_permutation_by_increasing_length_in_whole_groups(
    seed: int, chosen: set[int]
) -> None:
    cells = [CELLS[index] for index in sorted(chosen)]
    ordered = grid.order(cells, seed)
    assert Counter(c.id for c in ordered) == Counter(c.id for c in cells)
    lengths = [cell.seq_len for cell in ordered]
    assert lengths == sorted(lengths)
    groups = [group(cell) for cell in ordered]
    starts = [g for before, g in zip([None, *groups], groups, strict=False) if g != before]
    assert len(starts) == len({g.id for g in groups})


def test_an_order_depends_on_the_seed_alone() -> None:
    assert grid.order(CELLS, 1) == grid.order(CELLS, 1)
    orders = [[cell.id for cell in grid.order(CELLS, seed)] for seed in range(5)]
    assert len({tuple(ids) for ids in orders}) == 5


def test_phases_follow_each_other_as_declared_at_each_length() -> None:
    ordered = grid.order(CELLS, 3)
    phases = list(dict.fromkeys((cell.seq_len, cell.phase) for cell in ordered))
    assert phases == [
        (512, "train_step"),
        (512, "forward"),
        (1024, "train_step"),
        (1024, "forward"),
    ]


def test_each_contender_is_first_in_some_group_of_some_order() -> None:
    assert {grid.order(CELLS, seed)[0].contender for seed in range(20)} == {"a", "b", "c"}
