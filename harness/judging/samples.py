"""Samples by launch, paired with those of the other side where the two took turns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.judging.rule import Mode
from harness.judging.times import Launches
from harness.schema import Measurement, Result


def by_launch(measurement: Measurement) -> list[tuple[str, tuple[float, ...]]]:
    """Return the samples of each process with the name of its sitting, empty for none."""
    counts = measurement.launches or (len(measurement.samples),)
    names = measurement.sittings or ("",) * len(counts)
    ends = np.cumsum(counts).tolist()
    return [
        (name, tuple(measurement.samples[end - count : end]))
        for name, count, end in zip(names, counts, ends, strict=True)
        if count
    ]


def paired(base: Measurement, candidate: Measurement) -> tuple[Launches, Launches] | None:
    """Return the launches that took turns with each other, in order; None for fewer than two."""
    ours, theirs = ({name: s for name, s in by_launch(m) if name} for m in (candidate, base))
    common = [name for name in theirs if name in ours]
    if len(common) < 2:
        return None
    return tuple(theirs[name] for name in common), tuple(ours[name] for name in common)


def apart(measurement: Measurement) -> Launches:
    """Return all launches."""
    return tuple(samples for _, samples in by_launch(measurement))


def matched(base: Measurement, candidate: Measurement, mode: Mode) -> tuple[Launches, Launches]:
    """Return the launches of both sides that a mode judges."""
    if mode is Mode.PAIRED:
        return paired(base, candidate) or ((), ())
    return apart(base), apart(candidate)


def contention(results: Sequence[Result], cpu: str, wall: str) -> list[float]:
    """Return, by launch, the median over cells of wall time over process CPU time.

    Cells with several threads are left out: their CPU time is a sum over threads.
    """
    ratios: dict[int, list[float]] = {}
    for result in results:
        found = {m.metric: m for m in result.measurements}
        if result.cell.threads != 1 or cpu not in found or wall not in found:
            continue
        both = zip(apart(found[wall]), apart(found[cpu]), strict=False)
        for number, (walls, cpus) in enumerate(both):
            if sum(cpus) > 0:
                ratios.setdefault(number, []).append(sum(walls) / sum(cpus))
    return [float(np.median(ratios[number])) for number in sorted(ratios)]
