"""Benchmarks of other tools as runs of ours: pytest-benchmark's JSON.

Our own export carries each cell in full and comes back as the cells it was. A benchmark that is not
ours becomes a cell named by it: its samples are kept, what we cannot know (shape, dtype, seed)
stays at a value that says so, and its environment holds what the document tells of the machine, so
that it compares with its like and with nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from harness import store
from harness.codec import decode
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
)

NS_PER_S = 1e9
UNKNOWN = "unknown"
Fields = Mapping[str, Any]


class ImportFileError(ValueError):
    """A file that is no document of pytest-benchmark; the message says why."""


def read(file: Path) -> Run:
    """Return the benchmarks of a document as a run.

    Raises:
        ImportFileError: it cannot be read, is no such document, or holds no raw samples.
    """
    try:
        document: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ImportFileError(f"{file}: cannot be read: {error}") from error
    if not isinstance(document, dict) or "benchmarks" not in document:
        raise ImportFileError(f"{file}: no document of pytest-benchmark: it has no benchmarks")
    try:
        return _run(cast("Fields", document), file)
    except (KeyError, TypeError, ValueError) as error:
        raise ImportFileError(f"{file}: {type(error).__name__}: {error}") from error


def _run(document: Fields, file: Path) -> Run:
    environment = Environment(fields=_conditions(document))
    results = tuple(_result(each, environment) for each in document["benchmarks"])
    if not results:
        raise ValueError("it holds no benchmark")
    cells = tuple(result.cell for result in results)
    contenders = {c.contender: _contender(c) for c in cells}
    moment = datetime.fromisoformat(document["datetime"])
    name = re.sub(r"[^A-Za-z0-9_+-]+", "_", file.stem) or "imported"
    header = RunHeader(
        run_id=store.new_run_id(name, moment.astimezone(), (file.name, str(document)[:10000])),
        suite=name,
        suite_text=f"# imported from {file.name}, pytest-benchmark {document['version']}\n",
        question=f"What did {file.name} measure?",
        command=("import", file.name),
        created_at=document["datetime"],
        contenders=tuple(contenders.values()),
        metrics=("latency",),
        protocol=Protocol(),
        cells=cells,
    )
    return Run(header=header, results=results, environments={environment.id: environment})


def _result(benchmark: Fields, environment: Environment) -> Result:
    samples = benchmark["stats"].get("data")
    if not samples:
        raise ValueError(f"{benchmark['name']} has no raw samples; save with --benchmark-save-data")
    extra: Fields = benchmark.get("extra_info") or {}
    clock = extra.get("clock") or benchmark.get("options", {}).get("timer") or UNKNOWN
    latency = Measurement(
        metric="latency",
        unit="ns",
        better="lower",
        samples=tuple(round(NS_PER_S * sample) for sample in samples),
        stop=str(extra.get("stop", "enough")),
        method=str(clock),
    )
    return Result(
        cell=decode(Cell, extra["cell"]) if "cell" in extra else _cell(benchmark, extra),
        outcome=Outcome.OK,
        measurements=(latency,),
        facts=dict(extra.get("facts") or {}),
        environment=environment.id,
    )


def _cell(benchmark: Fields, extra: Fields) -> Cell:
    """Return a cell that is known by its name; sizes that nobody told are zero."""
    name = re.sub(r"[^A-Za-z0-9_+-]+", "_", str(benchmark["name"])).strip("_")
    return Cell(
        contender=name[:64],
        model=UNKNOWN,
        attention=UNKNOWN,
        impl=UNKNOWN,
        options={"benchmark": str(benchmark["fullname"])},
        phase=UNKNOWN,
        seq_len=int(extra.get("length", 0)),
        batch=0,
        d_model=0,
        heads=0,
        d_ff=0,
        layers=0,
        vocab=0,
        causal=False,
        dtype=UNKNOWN,
        device=UNKNOWN,
        threads=int(extra.get("threads", 0)),
        data=UNKNOWN,
        seed=0,
    )


def _contender(cell: Cell) -> Contender:
    return Contender(
        id=cell.contender,
        model=cell.model,
        attention=cell.attention,
        impl=cell.impl,
        options=cell.options,
    )


def _conditions(document: Fields) -> dict[str, Any]:
    """Return what the document tells of its machine, without names of machines and users."""
    machine: Fields = document["machine_info"]
    if isinstance(machine.get("environment"), dict):  # our own export
        return dict(machine["environment"])
    cpu: Fields = machine.get("cpu") or {}
    commit: Fields = document.get("commit_info") or {}
    return {
        "architecture": machine.get("machine"),
        "cpu": cpu.get("brand_raw"),
        "cores": cpu.get("count"),
        "python": machine.get("python_version"),
        "system": machine.get("system"),
        "info_kernel": machine.get("release"),
        "info_commit": commit.get("id"),
        "info_dirty": commit.get("dirty"),
    }
