"""Hand-made results of timed launches, for tests of the gate."""

from typing import Any

import numpy as np

from harness.schema import Cell, Measurement, Outcome, Result

METHOD = "process CPU time, 1 thread, one step a sample"


def timed(
    cell: Cell,
    *,
    seed: int,
    ratio: float = 1.0,
    launches: int = 5,
    wall: float = 1.0,
    peak: int = 64 << 20,
    sitting: bool = True,
    **changes: Any,
) -> Result:
    """A result as the worker writes it: launches of twelve samples that vary by one per cent."""
    chance = np.random.default_rng((seed, cell.seq_len))
    levels = 1e7 * ratio * np.exp(chance.normal(0, 0.01, launches))
    samples = tuple(round(x * y) for x in levels for y in 1 + chance.exponential(0.01, 12))
    names = tuple(f"{i}-{cell.id}" for i in range(launches)) if sitting else ()

    def measured(name: str, factor: float) -> Measurement:
        return Measurement(
            metric=name,
            unit="ns",
            better="lower",
            samples=tuple(round(factor * s) for s in samples),
            method=METHOD if name == "latency" else "wall time, 1 thread",
            launches=(12,) * launches,
            sittings=names,
        )

    size = Measurement(
        metric="peak_allocated",
        unit="byte",
        better="lower",
        samples=(peak,),
        method="torch's peak: allocator's events, in a pass of their own",
    )
    fields = {"outcome": Outcome.OK, "environment": "e", "facts": {"parameters": 1000}} | changes
    told = (measured("latency", 1.0), measured("latency_wall", wall), size)
    kept = told if fields["outcome"] is Outcome.OK else ()
    return Result(cell=cell, measurements=kept, **fields)
