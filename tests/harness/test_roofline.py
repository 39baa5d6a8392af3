from dataclasses import replace
from typing import Any

import pytest

from harness import roofline, store
from harness.roofline import derive
from harness.schema import Environment, Measurement, Outcome, Result, Unit
from tests.harness.conftest import cell, run

PEAKS = {"flops_per_s": 100e9, "bytes_per_s": 10e9, "method": "on the spot", "unknown": None}


def measured(metric: str, unit: Unit, *samples: float) -> Measurement:
    return Measurement(metric=metric, unit=unit, better="lower", samples=samples, method="how")


def of(**changes: Any) -> Result:
    """One second, 40 GFLOP of the problem, 30 executed, 6 GB moved."""
    base = Result(
        cell=cell(dtype="bfloat16"),
        outcome=Outcome.OK,
        measurements=(
            measured("latency", "ns", 1_000_000_000, 2_000_000_000),
            measured("flops_model", "flop", 40_000_000_000),
            measured("flops_executed", "flop", 30_000_000_000),
            measured("bytes_compulsory", "byte", 1_000_000_000),
            measured("bytes_operands", "byte", 6_000_000_000),
        ),
        facts={"peaks": PEAKS},
    )
    return replace(base, **changes)


def environment(name: str) -> Environment:
    return Environment(fields={"device_name": name})


def figures(result: Result, where: Environment | None = None) -> dict[str, tuple[float, ...]]:
    return {each.metric: each.samples for each in derive(result, where)}


def test_rates_and_utilisation_follow_each_sample_of_the_latency() -> None:
    found = figures(of())
    assert found["rate_model"] == (40e9, 20e9)
    assert found["rate_executed"] == (30e9, 15e9)
    assert found["mfu_measured"] == (0.4, 0.2)
    assert found["hfu_measured"] == (0.3, 0.15)


def test_a_known_device_has_both_peaks() -> None:
    found = figures(of(), environment("NVIDIA H200"))
    assert found["mfu_measured"][0] == pytest.approx(0.4)
    assert found["mfu_sheet"][0] == pytest.approx(40e9 / 989.5e12)


def test_an_unknown_device_falls_back_to_the_measured_peak() -> None:
    found = figures(of(), environment("NVIDIA Z9000"))
    assert found["mfu_measured"][0] == pytest.approx(0.4)
    assert "mfu_sheet" not in found


def test_the_roofline_is_bound_by_memory_below_the_ridge_and_by_compute_above_it() -> None:
    (low,) = [each for each in derive(of(), None) if each.metric == "bound_measured"]
    assert low.samples == (50e9,)  # 5 FLOP/B at 10 GB/s
    assert "bound by memory" in low.method
    assert figures(of())["of_bound_measured"] == (0.6, 0.3)

    fast = of(facts={"peaks": {**PEAKS, "bytes_per_s": 100e9}})
    (high,) = [each for each in derive(fast, None) if each.metric == "bound_measured"]
    assert high.samples == (100e9,)
    assert "bound by compute" in high.method


def test_without_counted_operands_the_intensity_is_that_of_the_compulsory_bytes() -> None:
    result = of(measurements=of().measurements[:-1])
    (found,) = [each for each in derive(result, None) if each.metric == "intensity"]
    assert found.samples == (30.0,)
    assert "bytes_compulsory" in found.method


def test_a_peak_that_could_not_be_measured_leaves_the_rates() -> None:
    unknown = {**PEAKS, "flops_per_s": None, "bytes_per_s": None, "unknown": "no memory"}
    found = figures(of(facts={"peaks": unknown}))
    assert found["rate_model"] == (40e9, 20e9)
    assert not {name for name in found if name.startswith(("mfu", "hfu", "bound"))}


def test_a_dtype_that_a_sheet_does_not_promise_has_no_share_of_it() -> None:
    found = figures(of(), environment("Tesla T4"))
    assert "mfu_sheet" not in found
    assert "mfu_measured" in found


def test_a_cell_without_flops_has_nothing_to_derive() -> None:
    assert derive(of(measurements=of().measurements[:1]), None) == ()


def test_a_cell_without_latency_still_has_an_intensity_and_a_bound() -> None:
    found = figures(of(measurements=of().measurements[1:]))
    assert set(found) == {"intensity", "bound_measured"}


def test_the_table_of_a_run_has_the_derived_figures() -> None:
    table = store.frame(run([of()]))
    values = dict(zip(table["metric"], table["value"], strict=True))
    assert values["mfu_measured"] == pytest.approx(0.3)
    assert values["intensity"] == pytest.approx(5.0)
    assert dict(zip(table["metric"], table["unit"], strict=True))["rate_model"] == "flop/s"


def test_peaks_are_told_with_their_source() -> None:
    found = roofline.peaks(of(), environment("NVIDIA H100 80GB HBM3"))
    assert [peak.source for peak in found] == ["measured", "sheet"]
