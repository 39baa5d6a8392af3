"""Laws of baselines: what goes in comes out, a line a cell, and half a file is none."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from harness import baseline, gate
from harness.baseline import BaselineError
from harness.gate import Case, Mode, Terms
from harness.schema import Cell, Outcome, Run
from tests.harness.launched import timed


@pytest.fixture
def run(make_run: Callable[..., Run], make_cell: Callable[..., Cell]) -> Run:
    """Ten cells, one of which runs out of memory."""
    cells = [make_cell(f"c{i}", 256 + i) for i in range(10)]
    failed = timed(cells[0], seed=1, outcome=Outcome.OUT_OF_MEMORY, reason="too long")
    made = make_run([failed, *[timed(c, seed=1) for c in cells[1:]]])
    return replace(made, header=replace(made.header, created_at="2026-11-20T00:00:00+00:00"))


@pytest.fixture
def file(tmp_path: Path, run: Run) -> Path:
    """The run as a baseline."""
    path = tmp_path / "b.jsonl"
    path.write_text(baseline.text(run, accepted="first"))
    return path


def test_a_run_passes_its_own_baseline(run: Run, file: Path) -> None:
    read = baseline.read(file)
    ids = frozenset(run.by_cell)
    terms = Terms(mode=Mode.STORED, declared=(ids, ids))
    case = Case(base=read, candidate=run, terms=terms, today=date(2026, 11, 26))
    found = gate.judge(case)
    assert (found.exit_code, found.sentence.count("9 cells")) == (0, 1)
    assert all(f.ratio == pytest.approx(1) for f in found.findings if f.metric == "latency")


def test_a_baseline_is_sorted_and_a_changed_cell_is_a_changed_line(run: Run) -> None:
    shuffled = replace(run, results=tuple(reversed(run.results)))
    text = baseline.text(run, accepted="first")
    assert baseline.text(shuffled, accepted="first") == text
    changed = [replace(r, reason="longer") if r.reason else r for r in run.results]
    other = baseline.text(replace(run, results=tuple(changed)), accepted="first")
    pairs = zip(text.splitlines(), other.splitlines(), strict=True)
    assert sum(one != two for one, two in pairs) == 1


def test_a_baseline_keeps_one_number_a_launch_and_names_nobody(file: Path) -> None:
    cell = json.loads(file.read_text().splitlines()[-1])
    latency = next(m for m in cell["measurements"] if m["metric"] == "latency")
    assert latency["launches"] == [1] * 5
    assert cell["facts"][baseline.ITERATIONS] == [12] * 5
    assert "info_" not in file.read_text()


def test_without_times_only_what_exact_values_depend_on_is_kept(run: Run) -> None:
    exact = [
        replace(r, measurements=tuple(m for m in r.measurements if m.unit != "ns"))
        for r in run.results
    ]
    text = baseline.text(replace(run, results=tuple(exact)), accepted="first")
    fields = json.loads(text.splitlines()[1])["fields"]
    assert set(fields) == {"torch", "device", "threads", "data_digest"}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda lines: lines[:-2], "8 of the 10 cells"),
        (lambda lines: [*lines[:-1], lines[-1][:40]], "line 12 is no JSON"),
        (lambda lines: lines[1:], "no header"),
        (lambda lines: [], "its first line"),
        (lambda lines: [lines[0].replace('"version":1', '"version":9'), *lines[1:]], "version 9"),
        (lambda lines: ["[]", *lines[1:]], "line 1 is no record"),
        (lambda lines: [*lines[:-1], '{"kind":"cell"}'], "KeyError|ValueError"),
    ],
)
def test_half_a_file_is_none(
    file: Path, spoil: Callable[[list[str]], list[str]], words: str
) -> None:
    file.write_text("\n".join(spoil(file.read_text().splitlines())))
    with pytest.raises(BaselineError, match=words):
        baseline.read(file)


def test_a_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="baseline update"):
        baseline.read(tmp_path / "none.jsonl")


def test_a_faulty_or_unfinished_run_is_no_norm(run: Run) -> None:
    declared = [r.cell.id for r in run.results]
    assert baseline.unacceptable(run, declared) == []
    assert "not measured" in baseline.unacceptable(run, [*declared, "more"])[0]
    wrong = replace(run.results[1], outcome=Outcome.WRONG, reason="off")
    spoilt = replace(run, results=(wrong, *run.results[2:]))
    assert "off" in " ".join(baseline.unacceptable(spoilt, []))
    assert "no cell" in baseline.unacceptable(replace(run, results=()), [])[0]
