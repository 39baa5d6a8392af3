"""The table of runs: SI units, no row lost, nothing truncated."""

from dataclasses import replace

import pandas as pd
import pytest

from harness import store
from harness.schema import Cell, Measurement, Outcome, Protocol, Result, Run, RunHeader
from harness.storage import observations

CELL = Cell(
    contender="reformer",
    model="reformer",
    attention="lsh",
    impl="eager",
    options={"hashes": 4, "chunk": 64},
    phase="forward",
    seq_len=1024,
    batch=2,
    d_model=64,
    heads=2,
    d_ff=128,
    layers=1,
    vocab=256,
    causal=True,
    dtype="float32",
    device="cpu",
    threads=1,
    data="stdlib",
    seed=0,
)
LATENCY = Measurement(
    metric="latency",
    unit="ns",
    better="lower",
    samples=(4_000_000, 1_000_000, 2_000_000, 3_000_000, 5_000_000, 6_000_000, 7_000_000),
    stop="enough",
    method="process CPU time",
)
MEMORY = Measurement(metric="peak_memory", unit="byte", better="lower", samples=(1 << 30,))
DONE = Result(
    cell=CELL, outcome=Outcome.OK, measurements=(LATENCY, MEMORY), environment="a1", attempt=3
)
FAILED = Result(
    cell=replace(CELL, seq_len=2048),
    outcome=Outcome.OUT_OF_MEMORY,
    reason="asked for 96 GiB",
    stage="time",
    requested_bytes=96 << 30,
)


def run(*results: Result, run_id: str = "a") -> Run:
    header = RunHeader(
        run_id=run_id,
        suite="smoke",
        suite_text="",
        question="?",
        command=(),
        created_at="2026-11-23T09:10:11+00:00",
        contenders=(),
        metrics=("latency",),
        protocol=Protocol(),
        cells=tuple(result.cell for result in results),
    )
    return Run(header=header, results=results, environments={})


def test_every_metric_of_every_cell_has_one_row_in_si_units() -> None:
    table = store.frame(run(DONE, FAILED))
    assert table["metric"].tolist()[:3] == ["latency", "throughput", "peak_memory"]
    latency, throughput, memory, failed = (row for _, row in table.iterrows())
    assert (latency.unit, latency.value, latency.lo, latency.hi) == ("s", 0.004, 0.001, 0.007)
    assert tuple(latency.samples) == (0.004, 0.001, 0.002, 0.003, 0.005, 0.006, 0.007)
    assert (latency.n, latency.method, latency.stop) == (7, "process CPU time", "enough")
    assert (throughput.unit, throughput.better) == ("token/s", "higher")
    assert throughput.value == pytest.approx(2 * 1024 / 0.004)
    assert throughput.lo == pytest.approx(2 * 1024 / 0.007)
    assert (memory.unit, memory.value, memory.n) == ("byte", 2**30, 1)
    assert pd.isna(memory.lo)
    assert pd.isna(memory.hi)
    assert pd.isna(failed.metric)
    assert pd.isna(failed.value)
    assert (failed.outcome, failed.reason, failed.stage) == (
        "out_of_memory",
        "asked for 96 GiB",
        "time",
    )
    assert (failed.requested_bytes, len(failed.samples), failed.n) == (96 << 30, 0, 0)


def test_every_row_tells_its_cell_and_run() -> None:
    row = store.frame(run(DONE)).iloc[0]
    for name in ("contender", "impl", "seq_len", "batch", "causal", "dtype", "tokens", "seed"):
        assert row[name] == getattr(CELL, name)
    assert (row.run_id, row.suite, row.cell_id) == ("a", "smoke", CELL.id)
    assert row.options == '{"chunk":64,"hashes":4}'
    assert (row.environment, row.attempt) == ("a1", 3)
    assert pd.isna(row.reason)


@pytest.mark.parametrize("runs", [(), (run(),), (run(FAILED),), (run(DONE), run(FAILED))])
def test_columns_and_types_do_not_depend_on_what_ran(runs: tuple[Run, ...]) -> None:
    table = store.frame(*runs)
    assert dict(table.dtypes.astype(str)) == observations.KINDS


def test_runs_that_measured_different_things_lose_nothing_side_by_side() -> None:
    whole = replace(LATENCY, metric="error", unit="1", samples=(2,))
    broken = replace(LATENCY, metric="error", unit="1", samples=(2.25,))
    extra = replace(LATENCY, metric="energy", unit="1", samples=(0.5,))
    first = run(replace(DONE, measurements=(whole,)), run_id="a")
    second = run(replace(DONE, measurements=(broken, extra)), run_id="b")
    for pair in ((first, second), (second, first)):
        table = store.frame(*pair)
        values = dict(
            zip(zip(table["run_id"], table["metric"], strict=True), table["value"], strict=True)
        )
        assert values == {("a", "error"): 2.0, ("b", "error"): 2.25, ("b", "energy"): 0.5}


def test_a_latency_of_zero_has_no_throughput() -> None:
    table = store.frame(run(replace(DONE, measurements=(replace(LATENCY, samples=(0, 1)),))))
    assert table["metric"].tolist() == ["latency"]
