"""pytest-benchmark's JSON comes in as a run; our own export comes back as it went out."""

import json
from pathlib import Path

import pytest

from harness import cli, store
from harness.export import export
from harness.imports import ImportFileError, read

FOREIGN = {
    "machine_info": {
        "node": "secret-host", "machine": "x86_64", "system": "Linux", "release": "6.1",
        "python_version": "3.11.7", "cpu": {"brand_raw": "AMD EPYC", "count": 2},
    },
    "commit_info": {"id": "0123abc", "dirty": True},
    "benchmarks": [
        {
            "name": "test_kernel[lsh-forward]", "fullname": "tests/test_k.py::test_kernel[lsh]",
            "options": {"timer": "perf_counter"}, "extra_info": {"length": 1024, "threads": 1},
            "stats": {"data": [0.001, 0.002, 0.0015]},
        }
    ],
    "datetime": "2026-01-02T03:04:05+00:00",
    "version": "5.2.3",
}  # fmt: skip


def written(folder: Path, document: object) -> Path:
    file = folder / "kernels.json"
    file.write_text(json.dumps(document))
    return file


def test_a_run_of_ours_comes_back_with_its_cells_samples_and_conditions(
    long_seq, tmp_path: Path
) -> None:
    file = tmp_path / "out.json"
    file.write_text(export(long_seq, "pytest-benchmark"))
    back = read(file)
    wanted = {
        r.cell.id: m.samples
        for r in long_seq.results
        for m in r.measurements
        if m.metric == "latency"
    }
    assert {r.cell.id: r.measurements[0].samples for r in back.results} == wanted


def test_a_foreign_benchmark_keeps_its_samples_and_says_what_is_unknown(tmp_path: Path) -> None:
    run = read(written(tmp_path, FOREIGN))
    (result,) = run.results
    assert result.measurements[0].samples == (1_000_000, 2_000_000, 1_500_000)
    assert result.measurements[0].method == "perf_counter"
    assert (result.cell.contender, result.cell.seq_len) == ("test_kernel_lsh-forward", 1024)
    assert (result.cell.dtype, result.cell.device) == ("unknown", "unknown")
    assert "secret-host" not in str(run)


def test_an_imported_run_is_stored_and_shown_like_any_other(tmp_path: Path, capsys) -> None:
    file = written(tmp_path, FOREIGN)
    assert cli.main(["import", str(file), "--out", str(tmp_path)]) == 0
    assert store.open("latest", tmp_path).results == read(file).results
    assert cli.main(["show", "latest", "--out", str(tmp_path)]) == 0
    assert "test_kernel_lsh-forward" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "no benchmarks"),
        ({"benchmarks": []}, "machine_info"),
        ({**FOREIGN, "benchmarks": []}, "holds no benchmark"),
        (
            {**FOREIGN, "benchmarks": [{**FOREIGN["benchmarks"][0], "stats": {}}]},
            "no raw samples; save with --benchmark-save-data",
        ),
    ],
)
def test_what_is_no_such_document_is_refused_with_the_reason(tmp_path, document, words) -> None:
    with pytest.raises(ImportFileError, match=words):
        read(written(tmp_path, document))


def test_a_file_that_is_no_json_or_missing_is_bad_usage(tmp_path: Path, capsys) -> None:
    (tmp_path / "broken.json").write_text("{")
    for name in ("broken.json", "missing.json"):
        assert cli.main(["import", str(tmp_path / name), "--out", str(tmp_path)]) == 2
    assert "cannot be read" in capsys.readouterr().err
