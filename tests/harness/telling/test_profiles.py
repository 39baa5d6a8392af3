from dataclasses import replace
from pathlib import Path

import pytest

from harness.schema import Measurement, Outcome, Result
from harness.telling.efficiency import efficiency
from harness.telling.profiles import families, names, profile_sheets, shares
from tests.harness.conftest import cell

FACTS = {
    "explained": 0.96,
    "steps": 2,
    "top": [["aten::bmm", "matrix_product", 500_000, 4.0], ["aten::sort", "sort", 20_000, 0.5]],
    "trace": "trace.json.gz",
}


def spent(metric: str, *samples: float) -> Measurement:
    return Measurement(metric=metric, unit="ns", better="lower", samples=samples)


@pytest.fixture
def profiled() -> Result:
    return Result(
        cell=cell("reformer"),
        outcome=Outcome.OK,
        measurements=(
            spent("profile_step", 900_000, 1_100_000),
            spent("profile_hashing", 100_000, 100_000),
            spent("profile_sort", 20_000, 20_000),
            spent("profile_gather_scatter", 80_000, 80_000),
            spent("profile_matrix_product", 660_000, 860_000),
            spent("profile_unattributed", 40_000, 40_000),
            spent("latency", 800_000, 810_000, 820_000),
        ),
        facts={"profile": FACTS},
    )


def test_shares_are_those_of_the_mean_step_and_add_up_to_one(profiled: Result) -> None:
    found = shares(profiled)
    assert next(iter(found)) == "matrix_product"
    assert sum(found.values()) == pytest.approx(1)
    assert found["hashing"] == pytest.approx(0.1)


def test_families_are_told_with_time_share_and_what_they_explain(profiled: Result) -> None:
    sheet = families(profiled)
    assert sheet.rows[0] == ("matrix product", "760 us", "76 %")
    assert sheet.rows[-1] == ("profiled step", "1.00 ms", "100 %")
    notes = " ".join(sheet.notes)
    assert "explain 96 % of the step" in notes
    assert "hashing, sort and gather together: 20 %" in notes
    assert "latency without the profiler: 810 us" in notes


def test_the_largest_names_have_family_calls_time_and_share(profiled: Result) -> None:
    assert names(profiled).rows[0] == ("aten::bmm", "matrix product", "4.00", "500 us", "50 %")


def test_a_cell_that_does_not_hash_has_no_line_about_it(profiled: Result) -> None:
    others = tuple(m for m in profiled.measurements if m.metric != "profile_hashing")
    notes = families(replace(profiled, measurements=others)).notes
    assert not any("hashing" in note for note in notes)


def test_files_are_told_with_their_size(profiled: Result, tmp_path: Path) -> None:
    file = tmp_path / "trace.json.gz"
    file.write_bytes(bytes(2048))
    (sheet,) = [s for s in profile_sheets(profiled, None, [file]) if s.title.startswith("files")]
    assert sheet.rows == (("trace.json.gz", "2.00 KiB"),)


def test_a_cell_that_failed_has_only_what_it_has() -> None:
    failed = Result(cell=cell(), outcome=Outcome.OUT_OF_MEMORY, reason="full")
    assert profile_sheets(failed, None, []) == []


def test_efficiency_says_how_count_and_paper_agree() -> None:
    def total(name: str, value: int) -> Measurement:
        return Measurement(metric=name, unit="flop", better="lower", samples=(value,))

    both = (total("flops_model", 10), total("flops_executed", 10), total("flops_counted", 5))
    found = Result(cell=cell(), outcome=Outcome.OK, measurements=both)
    assert efficiency(found, None).notes == ("FLOPs counted by PyTorch: 0.50x of those executed",)
    gap = replace(found, measurements=both[:2], facts={"flops_counted": "n/a (uncounted op: x)"})
    assert efficiency(gap, None).notes == ("FLOPs counted by PyTorch: n/a (uncounted op: x)",)
