"""Hand-made cells, results and runs; each fixture returns a function that makes one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.schema import (
    Cell,
    Contender,
    Environment,
    Measurement,
    Outcome,
    Protocol,
    Result,
    Run,
    RunHeader,
    Unit,
)

LENGTHS = (512, 1024, 2048, 4096, 8192)
FIELDS = {
    "cpu": "Example CPU 9000",
    "data_digest": "d1ge57",
    "device": "cpu",
    "info_commit": "0123abc",
    "threads": 1,
    "torch": "2.13.0",
}
MakeCell = Callable[..., Cell]
MakeResult = Callable[..., Result]
MakeRun = Callable[..., Run]
Law = Callable[[int], float]


def cell(contender: str = "transformer", seq_len: int = 512, **changes: Any) -> Cell:
    """A cell of the size that long_seq has on a CPU."""
    fields: dict[str, Any] = {
        "model": "reformer" if contender == "reformer" else "transformer",
        "attention": "lsh" if contender == "reformer" else "full",
        "impl": "auto",
        "phase": "forward",
        "batch": 1,
        "d_model": 256,
        "heads": 4,
        "d_ff": 1024,
        "layers": 2,
        "vocab": 256,
        "causal": True,
        "dtype": "float32",
        "device": "cpu",
        "threads": 1,
        "data": "stdlib",
        "seed": 0,
    }
    return Cell(contender=contender, seq_len=seq_len, **fields | changes)


def noisy(value: float, *, seed: int, n: int = 10, spread: float = 0.01) -> tuple[int, ...]:
    """Integer samples around a value, log-normal, always the same for a seed."""
    draws = np.random.default_rng(seed).lognormal(sigma=spread, size=n)
    return tuple(max(1, round(value * draw)) for draw in draws)


def measurement(metric: str, samples: Sequence[float], unit: Unit = "ns") -> Measurement:
    """A measurement as the worker writes it."""
    method = "process CPU time, 1 thread, one step a sample"
    return Measurement(
        metric=metric,
        unit=unit,
        better="lower",
        samples=tuple(samples),
        stop="enough" if unit == "ns" else "single",
        method=method if unit == "ns" else "VmHWM after a reset, minus resident memory",
    )


def result(
    of: Cell, latency: Sequence[float] = (), peak_memory: float | None = None, **changes: Any
) -> Result:
    """A result; `ok` unless an outcome is given."""
    found = [measurement("latency", latency)] if latency else []
    if peak_memory is not None:
        found.append(measurement("peak_memory", (peak_memory,), "byte"))
    facts = {"parameters": 1_700_000, "impl": "sdpa", **changes.pop("facts", {})}
    fields = {"outcome": Outcome.OK, "environment": Environment(fields=FIELDS).id} | changes
    return Result(cell=of, measurements=tuple(found), facts=facts, **fields)


def run(results: Sequence[Result], **changes: Any) -> Run:
    """A run that planned exactly the cells of its results."""
    environment = Environment(fields=FIELDS | changes.pop("fields", {}))
    cells = tuple(changes.pop("cells", [each.cell for each in results]))
    names = dict.fromkeys(each.contender for each in cells)
    contenders = tuple(
        Contender(id=name, model="transformer", attention="full", impl="auto") for name in names
    )
    header: dict[str, Any] = {
        "run_id": "20261123T090000Z-long_seq-abcd",
        "suite": "long_seq",
        "suite_text": "version: 1\n",
        "question": "Which is fastest and smallest, and where do the curves cross?",
        "command": ("run", "suites/long_seq.yaml"),
        "created_at": "2026-11-23T09:00:00Z",
        "contenders": contenders,
        "metrics": ("latency", "peak_memory"),
        "protocol": Protocol(),
        "cells": cells,
    }
    renamed = [_in(each, environment) for each in results]
    return Run(
        header=RunHeader(**header | changes),
        results=tuple(renamed),
        environments={environment.id: environment},
    )


def curves(
    latency: Mapping[str, Law],
    memory: Mapping[str, Law] | None = None,
    lengths: Sequence[int] = LENGTHS,
    n: int = 10,
    **changes: Any,
) -> list[Result]:
    """Results of contenders whose latency (ns) and memory (bytes) follow laws of the length."""
    return [
        result(
            cell(name, length, **changes),
            noisy(law(length), seed=length + i, n=n),
            round(memory[name](length)) if memory else None,
        )
        for i, (name, law) in enumerate(latency.items())
        for length in lengths
    ]


def _in(each: Result, environment: Environment) -> Result:
    return replace(each, environment=environment.id if each.environment else None)


@pytest.fixture
def make_cell() -> MakeCell:
    """`make_cell(contender, seq_len, **fields)`."""
    return cell


@pytest.fixture
def make_result() -> MakeResult:
    """`make_result(cell, latency=samples, peak_memory=bytes, **fields)`."""
    return result


@pytest.fixture
def make_run() -> MakeRun:
    """`make_run(results, fields=of the environment, cells=planned, **fields of the header)`."""
    return run


@pytest.fixture
def make_curves() -> Callable[..., list[Result]]:
    """`make_curves({contender: law}, {contender: law}, lengths, n, **fields of the cells)`."""
    return curves


@pytest.fixture
def long_seq() -> Run:
    """Three contenders: reformer overtakes at about 3k; eager runs out of memory at 4k."""
    results = curves(
        {
            "transformer": lambda n: 2e6 + 4.0 * n**2,
            "transformer-eager": lambda n: 2e6 + 9.0 * n**2,
            "reformer": lambda n: 4e6 + 12e3 * n,
        },
        {
            "transformer": lambda n: 2e6 + 9000 * n,
            "transformer-eager": lambda n: 2e6 + 16 * n**2,
            "reformer": lambda n: 1e6 + 3000 * n,
        },
    )
    changed = [_without_memory(each) for each in results]
    return run(changed)


def _without_memory(each: Result) -> Result:
    if each.cell.contender != "transformer-eager" or each.cell.seq_len < 4096:
        return each
    if each.cell.seq_len == 4096:
        reason, outcome = "tried to allocate 1.00 GiB at T=4096", Outcome.OUT_OF_MEMORY
        return result(each.cell, outcome=outcome, reason=reason, requested_bytes=2**30)
    reason = "implied: out of memory at 4096"
    return result(each.cell, outcome=Outcome.IMPLIED, reason=reason, environment=None)
