"""What a run was measured on and with, and what limits the comparison, in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness import stats
from harness.judging import conditions
from harness.schema import Outcome, Result, Run
from harness.telling import units, words

CONTENDED = 1.15  # wall over CPU time of one thread, above which others had the processor
FAIR = 0.01  # contenders whose parameters differ by less are called equal


def circumstances(run: Run) -> str:
    """Return machine, dtype, threads, clock and cautions as one sentence; empty without results."""
    done = [result for result in run.results if result.outcome is Outcome.OK]
    if not done:
        return ""
    used = conditions.used(run)
    machine = used.get("device_name") or used.get("cpu") or ["an unknown machine"]
    parts = [words.listing(machine), words.listing(sorted({r.cell.dtype for r in done}))]
    threads = sorted({r.cell.threads for r in done if r.cell.device == "cpu"})
    if threads:
        parts.append(f"{words.listing([str(n) for n in threads])} thread{'s' * (threads != [1])}")
    taken = [m for result in done for m in result.measurements if m.metric == "latency"]
    clocks = sorted({m.method.partition(",")[0] for m in taken if m.method})
    if clocks:
        counts = sorted({len(m.samples) for m in taken})
        told = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
        parts.append(f"time is the median {words.listing(clocks)} of {told} samples")
    return words.plain("; ".join([f"Measured on {', '.join(parts)}", *cautions(run)])) + "."


def cautions(run: Run) -> list[str]:
    """Return what limits the comparison: approximations, unequal sizes, launches."""
    done = [result for result in run.results if result.outcome is Outcome.OK]
    texts: list[str] = []
    loose = sorted({r.cell.contender for r in done if r.facts.get("exact") is False})
    if loose:
        verb = "approximate" if len(loose) > 1 else "approximates"
        scored = any(m.metric == "quality" for result in done for m in result.measurements)
        unknown = "" if scored else ", and speed says nothing of quality"
        texts.append(f"{words.listing(loose)} {verb} full attention{unknown}")
    texts += _inequality(done)
    bound = sum(bool(result.facts.get("launch_bound")) for result in done)
    if bound:
        texts.append(f"in {words.count(bound, 'cell')} the device waited for launches by the host")
    crowded = sum(_contended(result) for result in done)
    if crowded:
        texts.append(f"in {words.count(crowded, 'cell')} others had the processor meanwhile")
    return texts


def _contended(result: Result) -> bool:
    """Say whether one thread waited for its processor in most launches."""
    shares: list[Any] = result.facts.get("wall_over_cpu") or []
    known = [share for share in shares if share is not None]
    return result.cell.threads == 1 and bool(known) and stats.median(known) > CONTENDED


def _inequality(done: Sequence[Result]) -> list[str]:
    """Say by how much contenders differ in parameters where they differ most, at equal length."""
    sizes: dict[tuple[str, int], dict[str, int]] = {}
    for result in done:
        if size := result.facts.get("parameters"):
            group = sizes.setdefault((result.cell.phase, result.cell.seq_len), {})
            group[result.cell.contender] = int(size)
    spreads = [
        (group[high] / group[low] - 1, high, low)
        for group in sizes.values()
        for high in group
        for low in group
    ]
    spread, high, low = max(spreads, default=(0.0, "", ""))
    if spread <= FAIR:
        return []
    return [f"{high} has {units.percent(spread)} more parameters than {low}"]
