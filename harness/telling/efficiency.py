"""How near a cell comes to its device's peak, as a sheet of words."""

from __future__ import annotations

from harness import roofline, stats
from harness.schema import Environment, Result
from harness.telling import units
from harness.telling.tables import Sheet

WORDS = {
    "rate_model": "FLOPs of the problem per second",
    "rate_executed": "executed FLOPs per second",
    "mfu_measured": "MFU, of the measured peak",
    "mfu_sheet": "MFU, of the data sheet",
    "hfu_measured": "HFU, of the measured peak",
    "hfu_sheet": "HFU, of the data sheet",
    "intensity": "arithmetic intensity",
    "bound_measured": "roofline's bound, measured",
    "bound_sheet": "roofline's bound, data sheet",
    "of_bound_measured": "of the measured bound",
    "of_bound_sheet": "of the data sheet's bound",
}


def efficiency(result: Result, environment: Environment | None) -> Sheet:
    """Return the derived figures of a cell, each with how it came about; no rows without FLOPs."""
    rows = tuple(
        (WORDS.get(each.metric, each.metric), _text(each), each.method)
        for each in roofline.derive(result, environment)
    )
    return Sheet(title="efficiency", header=("", "median", "how"), rows=rows, notes=_gaps(result))


def _text(each: roofline.Derived) -> str:
    value = stats.median(each.samples)
    return units.percent(value) if each.unit == "1" else units.quantity(value, each.unit)


def _gaps(result: Result) -> tuple[str, ...]:
    """Say how the paper's FLOPs and PyTorch's count agree, or why there is no count."""
    values = {m.metric: m.samples[0] for m in result.measurements if m.samples}
    counted, executed = values.get("flops_counted"), values.get("flops_executed")
    if executed and counted is not None:
        return (f"FLOPs counted by PyTorch: {units.ratio(counted / executed)} of those executed",)
    unknown = result.facts.get("flops_counted")
    return (f"FLOPs counted by PyTorch: {unknown}",) if unknown else ()
