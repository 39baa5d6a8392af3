from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness import cli, store
from harness.planning import Plan, PlanError
from harness.profiling import one_cell
from harness.schema import Job, Protocol, Run
from tests.harness.conftest import MakeCell

SUITE = """
version: 1
name: tiny
question: Where does the time go?
contenders:
  - {id: a, model: transformer, attention: full, impl: eager}
  - {id: b, model: reformer, options: {hashes: 2, chunk: 16}}
axes: {phase: [forward], seq_len: [64]}
fixed: {d_model: 16, heads: 2, d_ff: 16, layers: 1}
metrics: [latency]
protocol: {launches: 1, min_samples: 3, min_time_s: 0, max_time_s: 0.1}
"""


@pytest.fixture
def plan(make_cell: MakeCell, make_run: Callable[..., Run]) -> Callable[..., Plan]:
    def make(*names: str) -> Plan:
        cells = [make_cell(name) for name in names]
        run = make_run([], cells=cells)
        header = replace(run.header, gate={"latency": {"regress_over": 0.05}})
        jobs = tuple(Job(cell=each, metrics=("latency",), protocol=Protocol()) for each in cells)
        return Plan(header=header, jobs=jobs)

    return make


def test_the_cell_gets_every_instrument_and_the_clock_comes_first(plan) -> None:
    found = one_cell(plan("reformer"), ["energy", "latency", "profile"])
    assert found.jobs[0].metrics == ("latency", "energy", "profile")
    assert found.header.metrics == found.jobs[0].metrics
    assert found.header.cells == (found.jobs[0].cell,)
    assert found.header.gate == {}


def test_a_cell_without_a_task_is_not_trained(plan) -> None:
    assert one_cell(plan("reformer"), ["latency", "quality"]).jobs[0].metrics == ("latency",)


def test_several_cells_are_refused_by_name(plan) -> None:
    both = plan("transformer", "reformer")
    with pytest.raises(PlanError, match="takes one cell, and --only leaves 2") as caught:
        one_cell(both, ["latency"])
    assert all(job.cell.id in str(caught.value) for job in both.jobs)


def test_the_verb_tells_where_the_time_of_a_cell_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.yaml").write_text(SUITE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main(["profile", "tiny.yaml", "--only", "b"]) == cli.EXIT_OK
    text = capsys.readouterr().out
    for words in (
        "time of a step by family",
        "hashing, sort and gather together",
        "matrix product",
        "largest operations or kernels",
        "MFU, of the measured peak",
        "trace.json.gz",
    ):
        assert words in text
    run = store.open("latest")
    assert [(r.outcome, r.reason) for r in run.results] == [("ok", None)]
    folder = Path(text.strip().splitlines()[-1])
    files = store.artifacts(folder, run.results[0].cell.id)
    assert "trace.json.gz" in {file.name for file in files}
    assert all(file.is_relative_to(folder) for file in files)


def test_the_verb_refuses_several_cells_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.yaml").write_text(SUITE)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["profile", "tiny.yaml"]) == cli.EXIT_USAGE
    assert "profile takes one cell" in capsys.readouterr().err
    assert not Path("results").exists()
