"""How near a cell comes to what its device can do: rates, MFU, intensity, the roofline's bound.

Everything is derived when it is read, from `latency`, the `flops` metric and the device's peaks.
On a CPU `latency` is process CPU time and so are the measured peaks: rates are per processor-second
and do not grow with the threads.

* MFU, model FLOPs utilisation: FLOPs of the problem / time / peak (Chowdhery et al. 2022, PaLM,
  appendix B). An approximation does less than the problem asks for, so its MFU may exceed one.
* HFU, hardware FLOPs utilisation: FLOPs as executed / time / peak.
* Intensity: executed FLOPs / bytes that the products moved (where PyTorch cannot count them, the
  compulsory bytes). Bound: min(peak, intensity x bandwidth) (Williams, Waterman, Patterson 2009).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from harness import datasheet, stats
from harness.schema import Better, Environment, Measurement, Result

NS = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A figure that follows from others; samples where it follows from samples."""

    metric: str
    unit: str  # flop/s, byte/s, flop/byte, 1
    better: Better
    samples: tuple[float, ...]
    method: str
    launches: tuple[int, ...] = ()  # as those of what it follows from
    sittings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The rates of a device by one source."""

    source: str  # "measured" or "sheet"
    flops_per_s: float | None
    bytes_per_s: float | None
    method: str


def derive(result: Result, environment: Environment | None) -> tuple[Derived, ...]:
    """Return what follows for a cell; nothing where it has no FLOPs."""
    measured = {m.metric: m for m in result.measurements if m.samples}
    model, executed = measured.get("flops_model"), measured.get("flops_executed")
    if model is None or executed is None:
        return ()
    found: list[Derived] = []
    known = peaks(result, environment)
    latency = measured.get("latency")
    if latency is not None and all(latency.samples):
        found += _rates(latency, _one(model), _one(executed), known)
    moved = measured.get("bytes_operands") or measured.get("bytes_compulsory")
    if moved is not None:
        found += _roofline(latency, _one(executed), moved, known)
    return tuple(found)


def peaks(result: Result, environment: Environment | None) -> tuple[Peak, ...]:
    """Return the device's rates: measured in the run, then promised by its data sheet."""
    found: list[Peak] = []
    told: Any = result.facts.get("peaks")
    if isinstance(told, Mapping):
        rates = cast("Mapping[str, Any]", told)
        found.append(
            Peak(
                source="measured",
                flops_per_s=rates.get("flops_per_s"),
                bytes_per_s=rates.get("bytes_per_s"),
                method=str(rates.get("method", "")),
            )
        )
    sheet = datasheet.find(environment.fields.get("device_name") if environment else None)
    if sheet is not None:
        found.append(
            Peak(
                source="sheet",
                flops_per_s=sheet.flops_per_s.get(result.cell.dtype),
                bytes_per_s=sheet.bytes_per_s,
                method=f"data sheet of {sheet.device}, dense",
            )
        )
    return tuple(found)


def _rates(
    latency: Measurement, model: float, executed: float, known: tuple[Peak, ...]
) -> list[Derived]:
    """Return FLOP/s and their shares of the peaks, a value for each sample of the latency."""

    def rate(name: str, flops: float, peak: float = 1, method: str = "") -> Derived:
        samples = tuple(flops * NS / ns / peak for ns in latency.samples)
        unit = "1" if method else "flop/s"
        how = f"{latency.method}; {method}" if method else latency.method
        return Derived(
            metric=name,
            unit=unit,
            better="higher",
            samples=samples,
            method=how,
            launches=latency.launches,
            sittings=latency.sittings,
        )

    found = [rate("rate_model", model), rate("rate_executed", executed)]
    for peak in known:
        if peak.flops_per_s:
            how = f"of {peak.flops_per_s:.4g} FLOP/s, {peak.method}"
            found.append(rate(f"mfu_{peak.source}", model, peak.flops_per_s, how))
            found.append(rate(f"hfu_{peak.source}", executed, peak.flops_per_s, how))
    return found


def _roofline(
    latency: Measurement | None, executed: float, moved: Measurement, known: tuple[Peak, ...]
) -> list[Derived]:
    """Return the intensity and, per source of peaks, the bound and how much of it is reached."""
    intensity = executed / _one(moved)
    found = [
        Derived(
            metric="intensity",
            unit="flop/byte",
            better="higher",
            samples=(intensity,),
            method=f"executed FLOPs by {moved.metric}: {moved.method}",
        )
    ]
    for peak in known:
        if not peak.flops_per_s or not peak.bytes_per_s:
            continue
        bandwidth = intensity * peak.bytes_per_s
        bound = min(peak.flops_per_s, bandwidth)
        by = "memory" if bandwidth < peak.flops_per_s else "compute"
        how = f"bound by {by}; {peak.method}"
        name = f"bound_{peak.source}"
        found.append(
            Derived(metric=name, unit="flop/s", better="higher", samples=(bound,), method=how)
        )
        if latency is not None and all(latency.samples):
            shares = tuple(executed * NS / ns / bound for ns in latency.samples)
            found.append(
                Derived(
                    metric=f"of_{name}",
                    unit="1",
                    better="higher",
                    samples=shares,
                    method=how,
                    launches=latency.launches,
                    sittings=latency.sittings,
                )
            )
    return found


def _one(measurement: Measurement) -> float:
    return stats.median(measurement.samples)
