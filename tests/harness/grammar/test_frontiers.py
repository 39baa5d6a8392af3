from __future__ import annotations

from pathlib import Path

import pytest

from harness import suite
from harness.frontier import Search

VALID = """\
version: 1
name: frontier
question: Which reaches furthest?
contenders:
  - {id: transformer, model: transformer, impl: sdpa}
  - {id: reformer, model: reformer, options: {hashes: 4}}
axes: {phase: [forward, train_step]}
fixed: {d_model: 256, heads: 4, layers: 2}
frontier: {memory: [64MiB, 1GiB], start: 1k, limit: 64k, resolution: 512}
metrics: [peak_memory]
"""


def load(text: str = VALID, *overrides: str) -> suite.Suite:
    return suite.parse(text, "x.yaml", overrides)


def problems(old: str, new: str) -> list[str]:
    assert old in VALID
    with pytest.raises(suite.SuiteError) as caught:
        load(VALID.replace(old, new))
    return [problem.removeprefix("x.yaml: ") for problem in caught.value.problems]


def test_a_search_begins_with_one_cell_per_contender_axis_and_budget() -> None:
    cells = suite.expand(load(), "cpu").cells
    assert len({cell.id for cell in cells}) == len(cells) == 2 * 2 * 2
    assert {cell.seq_len for cell in cells} == {1024}
    assert {cell.memory_bytes for cell in cells} == {64 << 20, 1 << 30}


def test_the_search_is_known_by_device() -> None:
    one = Search(memory=(64 << 20, 1 << 30), start=1024, limit=65536, resolution=512)
    assert suite.search(load(), "cpu") == suite.search(load(), "cuda") == one
    text = VALID.replace("frontier: {", "frontier: {cpu: {").replace("512}", "512}}")
    assert suite.search(load(text), "cpu") == one
    assert suite.search(load(text), "cuda") is None


def test_without_a_resolution_lengths_are_multiples_of_the_start() -> None:
    found = suite.search(load(VALID.replace(", resolution: 512", "")), "cpu")
    assert found is not None
    assert found.resolution == 1024


def test_a_suite_without_a_frontier_has_a_grid() -> None:
    text = VALID.replace(VALID.splitlines()[8] + "\n", "").replace(
        "axes: {", "axes: {seq_len: [8], "
    )
    loaded = load(text)
    assert suite.search(loaded, "cpu") is None
    assert {cell.memory_bytes for cell in suite.expand(loaded, "cpu").cells} == {None}


def test_a_value_can_be_set_from_the_command_line() -> None:
    found = suite.search(load(VALID, "frontier.memory=[2GiB]", "frontier.limit=8k"), "cpu")
    assert found is not None
    assert (found.memory, found.limit) == ((2 << 30,), 8192)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("limit: 64k", "limt: 64k", "frontier.limt: unknown key, did you mean 'limit'?"),
        ("start: 1k, ", "", "frontier.start: is missing"),
        ("[64MiB, 1GiB]", "[]", "frontier.memory: is empty; give at least one value"),
        ("64MiB", "64MB", "frontier.memory[0]: expected a size of at least 1 MiB"),
        ("64MiB", "8", "frontier.memory[0]: expected a size of at least 1 MiB"),
        ("64MiB", "1024MiB", "frontier.memory[1]: 1GiB appears twice"),
        ("start: 1k", "start: -1", "frontier.start: expected a whole number of at least 1"),
        ("start: 1k", "start: 128k", "frontier.start: 131072 is above the limit 65536"),
        ("start: 1k", "start: 700", "frontier.start: 700 is not a multiple of the resolution 512"),
        ("limit: 64k", "limit: 65000", "frontier.limit: 65000 is not a multiple"),
        (
            "axes: {",
            "axes: {seq_len: [8], ",
            "frontier: seq_len is searched for; take it off 'axes'",
        ),
        (
            "fixed: {",
            "fixed: {seq_len: 8, ",
            "frontier: seq_len is searched for; take it off 'fixed'",
        ),
        ("[peak_memory]", "[flops]", "frontier: 'peak_memory' runs within the budget; add it"),
        ("axes: {", "axes: {memory_bytes: [8], ", "axes.memory_bytes: unknown key"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(old: str, new: str, expected: str) -> None:
    problem, *_ = problems(old, new)
    assert problem.startswith(expected)


def test_all_problems_are_told_together() -> None:
    found = problems("start: 1k, limit: 64k", "start: x, limt: 64k")
    assert len(found) == 3


def test_the_suite_of_the_house_searches_on_every_device() -> None:
    loaded = suite.load(Path(__file__).parents[3] / "suites" / "frontier.yaml")
    for device in ("cpu", "cuda"):
        search = suite.search(loaded, device)
        assert search is not None
        cells = suite.expand(loaded, device).cells
        assert len(cells) == len(loaded.contenders) * 2 * len(search.memory)
