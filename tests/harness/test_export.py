"""Laws of exports: what other tools read, and what must not be in it."""

import csv
import io
import json
import statistics
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.export import FORMATS, export
from harness.schema import Outcome
from harness.telling.benchmark_document import figures

STEADY = tuple(range(1_000_000, 1_000_010))


def table(run) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(export(run, "csv"))))


def test_csv_has_a_row_for_each_cell_and_metric_and_one_for_each_failure(long_seq) -> None:
    rows = table(long_seq)
    assert len(rows) == 13 * 3 + 2  # latency, memory and derived throughput of each good cell
    (failed,) = [row for row in rows if row["outcome"] == "out_of_memory"]
    assert failed["reason"] == "tried to allocate 1.00 GiB at T=4096"
    assert (failed["metric"], failed["median"]) == ("", "")
    assert len({(row["cell_id"], row["metric"]) for row in rows}) == len(rows)


def test_csv_keeps_raw_samples_exactly(make_cell, make_result, make_run) -> None:
    row, throughput, *_ = table(make_run([make_result(make_cell(), STEADY)]))
    assert [int(sample) for sample in row["samples"].split()] == list(STEADY)
    assert float(row["median"]) == statistics.median(STEADY)
    assert float(row["lo"]) < float(row["median"]) < float(row["hi"])
    assert (throughput["metric"], throughput["unit"]) == ("throughput", "token/s")


def test_csv_quotes_hostile_texts_and_disarms_formulas(make_cell, make_result, make_run) -> None:
    reason = '=HYPERLINK("x"), said "no"\nand left'
    (row,) = table(make_run([make_result(make_cell(), outcome=Outcome.ERROR, reason=reason)]))
    assert row["reason"] == '\'=HYPERLINK("x"), said "no" and left'


def test_markdown_holds_the_tables_and_the_answer(long_seq) -> None:
    text = export(long_seq, "markdown")
    assert "| reformer | 10.1 (3.34x) |" in text
    assert (
        "| transformer-eager | 4.37 (1.44x) | 11.4 (1.84x) | 39.7 (2.11x) | out of memory |" in text
    )
    assert "## Answer" in text
    assert "at 8k 2.64 times faster than transformer" in text


def test_markdown_shows_hostile_names_as_text(make_cell, make_result, make_run) -> None:
    name = "a|b<script>[x](y)`*_"
    text = export(make_run([make_result(make_cell(name), STEADY)]), "markdown")
    assert r"a\|b\<script\>\[x\](y)\`\*\_" in text
    assert name not in text


def test_pytest_benchmark_itself_accepts_the_file(long_seq, tmp_path) -> None:
    (tmp_path / "one.json").write_text(export(long_seq, "pytest-benchmark"), encoding="utf-8")
    slower = [
        replace(each, measurements=tuple(_twice(m) for m in each.measurements))
        for each in long_seq.results
    ]
    other = replace(long_seq, results=tuple(slower))
    (tmp_path / "two.json").write_text(export(other, "pytest-benchmark"), encoding="utf-8")
    command = "import sys; from pytest_benchmark.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", command, "compare", "one.json", "two.json", "--csv=out.csv"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Failed to load" not in done.stdout + done.stderr
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 13
    medians = sorted(float(r["median"]) for r in rows if "reformer-forward-8192" in r["name"])
    assert medians[1] == pytest.approx(2 * medians[0])
    assert medians[0] == pytest.approx(0.103, rel=0.01)


def _twice(measurement):
    return replace(measurement, samples=tuple(2 * sample for sample in measurement.samples))


def test_benchmarks_are_the_good_cells_with_a_latency_and_carry_the_rest(
    make_cell, make_result, make_run
) -> None:
    results = [
        make_result(make_cell(), STEADY, 2**20),
        make_result(make_cell(seq_len=1024), STEADY, outcome=Outcome.WRONG, reason="off"),
        make_result(make_cell(seq_len=2048), peak_memory=2**20),
    ]
    document = json.loads(export(make_run(results), "pytest-benchmark"))
    (found,) = document["benchmarks"]
    assert found["name"] == "transformer-forward-512-float32-cpu"
    assert found["extra_info"]["measurements"]["peak_memory"]["median"] == 2**20
    assert found["stats"]["data"] == [sample / 1e9 for sample in STEADY]
    assert found["stats"]["rounds"] == len(STEADY)
    assert document["machine_info"]["cpu"]["brand_raw"] == "Example CPU 9000"
    assert document["commit_info"]["id"] == "0123abc"


def test_names_are_unique_where_cells_differ_in_what_a_slug_leaves_out(
    make_cell, make_result, make_run
) -> None:
    cells = [make_cell(batch=n) for n in (1, 2)]
    run = make_run([make_result(cell, STEADY) for cell in cells])
    found = json.loads(export(run, "pytest-benchmark"))["benchmarks"]
    assert [each["name"] for each in found] == [cell.id for cell in cells]


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=30))
def test_figures_of_a_benchmark_are_in_order_and_finite(samples: list[float]) -> None:
    found = figures(samples)
    order = ("min", "ld15iqr", "q1", "median", "q3", "hd15iqr", "max")
    whiskers = [found[key] for key in ("min", "ld15iqr", "hd15iqr", "max")]
    assert whiskers == sorted(whiskers)
    boxes = [found[key] for key in ("min", "q1", "median", "q3", "max")]
    assert boxes == sorted(boxes)
    assert set(order) <= set(found)
    assert found["min"] * (1 - 1e-9) <= found["mean"] <= found["max"] * (1 + 1e-9)
    assert found["outliers"] == f"{found['stddev_outliers']};{found['iqr_outliers']}"
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("to", sorted(FORMATS))
def test_no_path_of_a_machine_is_exported(long_seq, to: str) -> None:
    command = ("run", "/home/someone/suites/long_seq.yaml", "--out", "/data/results")
    run = replace(long_seq, header=replace(long_seq.header, command=command))
    assert "/home" not in export(run, to)
    assert "/data" not in export(run, to)


@pytest.mark.parametrize("to", sorted(FORMATS))
def test_a_run_without_results_is_exported_too(make_run, to: str) -> None:
    assert export(make_run([]), to).endswith("\n")


def test_an_unknown_format_names_the_nearest_and_all() -> None:
    with pytest.raises(
        ValueError, match=r"unknown format 'cvs'; did you mean 'csv'.* known: csv, m"
    ):
        export(None, "cvs")  # pyright: ignore[reportArgumentType] - refused before it is read
