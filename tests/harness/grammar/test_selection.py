from __future__ import annotations

import pytest

from harness.grammar import grid, selection
from harness.grammar.document import SuiteError
from harness.schema import Cell, Contender

CELLS = grid.points(
    (
        Contender(id="transformer", model="transformer", attention="full", impl="sdpa"),
        Contender(
            id="reformer", model="reformer", attention="lsh", impl="auto", options={"hashes": 4}
        ),
    ),
    {"phase": ("forward", "train_step"), "seq_len": (1024, 4096)},
    {
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
    },
)


def named(cells: tuple[Cell, ...]) -> list[tuple[str, str, int]]:
    return [(cell.contender, cell.phase, cell.seq_len) for cell in cells]


def test_without_patterns_every_cell_is_kept() -> None:
    assert selection.select(CELLS) == grid.Grid(cells=tuple(CELLS))


@pytest.mark.parametrize(
    "pattern",
    ["reformer", "re*", "model=reformer", "attention=lsh", "options.hashes=4", "contender!=trans*"],
)
def test_a_contender_has_many_names(pattern: str) -> None:
    kept = selection.select(CELLS, only=[pattern]).cells
    assert kept == tuple(cell for cell in CELLS if cell.contender == "reformer")


def test_a_cell_is_named_by_its_id() -> None:
    assert selection.select(CELLS, only=[CELLS[3].id]).cells == (CELLS[3],)


def test_only_patterns_add_up_and_skip_takes_away() -> None:
    kept = selection.select(CELLS, only=["reformer", "seq_len=4k"], skip=["phase=train_step"])
    assert named(kept.cells) == [
        ("transformer", "forward", 4096),
        ("reformer", "forward", 1024),
        ("reformer", "forward", 4096),
    ]


def test_what_is_left_out_says_by_which_pattern() -> None:
    left = selection.select(CELLS, only=["reformer"], skip=["seq_len>1k"]).excluded
    assert {(r.cell.contender, r.cell.seq_len, r.reason) for r in left} == {
        ("transformer", 1024, "not in --only reformer"),
        ("transformer", 4096, "--skip seq_len>1k"),
        ("reformer", 4096, "--skip seq_len>1k"),
    }


@pytest.mark.parametrize(
    ("only", "skip", "problem"),
    [
        (["reforme"], [], "--only reforme: unknown cell or contender 'reforme'; did you mean 'ref"),
        ([], ["seqlen=4k"], "--skip seqlen=4k: unknown field 'seqlen'; did you mean 'seq_len'?"),
        (["phase=foward"], [], "--only phase=foward: unknown phase 'foward'; did you mean 'forw"),
        (["seq_len=2k"], [], "--only seq_len=2k: unknown seq_len '2k'; known: 1024, 4096"),
        (["seq_len>64k"], [], "--only seq_len>64k: unknown seq_len '64k'; known: 1024, 4096"),
        (["options=4"], [], "--only options=4: unknown field 'options'"),
        (["reformer"], ["reformer"], "--only and --skip together leave no cell to run"),
        ([""], [], "--only : unknown cell or contender ''"),
    ],
)
def test_a_pattern_that_matches_nothing_names_the_nearest(
    only: list[str], skip: list[str], problem: str
) -> None:
    with pytest.raises(SuiteError) as caught:
        selection.select(CELLS, only, skip)
    assert caught.value.problems[0].startswith(problem)


def test_all_patterns_that_match_nothing_are_reported_at_once() -> None:
    with pytest.raises(SuiteError) as caught:
        selection.select(CELLS, ["x", "y"], ["z"])
    assert len(caught.value.problems) == 3
