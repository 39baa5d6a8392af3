"""Profile: where a step's time goes, by family of operations or kernels; keeps a trace."""

from __future__ import annotations

import gzip
import re
import tempfile
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile, record_function

from harness.schema import Measurement
from harness.worker.metric import Bench, Findings, Metric
from harness.worker.sampling import collector_paused
from harness.worker.spans import STEP, Breakdown, break_down
from harness.worker.workload import Workload

BUDGET_NS = 2_000_000_000  # steps are profiled for about so long
MOST_STEPS = 5  # a trace of more tells no more
TOP = 20  # names that are kept in the record
TRACE = "trace.json.gz"  # for Perfetto or chrome://tracing
_OPERATIONS = "torch.profiler, CPU: an operation's own time, without what it calls"
_KERNELS = "torch.profiler, CUDA: time of the kernels"
_OWN_PATH = re.compile(rb'("traceName": )"[^"]*"')


def collect(bench: Bench) -> Findings:
    """Profile a few steps of a warm workload.

    The measurements `profile_<family>` add up to `profile_step`, the time of a profiled step; the
    profiler's own work makes it longer than `latency`. The facts hold the largest names and the
    share of the step that families other than `other` and `unattributed` explain. The trace goes to
    the job's artifacts, where it has a folder for them.
    """
    work = bench.fresh()
    steps = _warm(work, bench)
    with collector_paused(), profile(activities=_activities(work.cell.device)) as found:
        for _ in range(steps):
            with record_function(STEP):
                work.step()
                _wait(work, bench)
    split = break_down(found.events() or (), work.cell.device)
    facts: dict[str, Any] = {
        "explained": round(split.explained, 4),
        "steps": steps,
        "top": [[name, family, round(ns), calls] for name, family, ns, calls in split.names[:TOP]],
        "trace": None,
    }
    if bench.job.artifacts is not None:
        folder = Path(bench.job.artifacts)
        folder.mkdir(parents=True, exist_ok=True)
        _write_trace(found, folder / TRACE)
        facts["trace"] = TRACE
    method = _KERNELS if work.cell.device == "cuda" else _OPERATIONS
    return Findings(measurements=_measurements(split, method), facts={"profile": facts})


def _warm(work: Workload, bench: Bench) -> int:
    """Step until compilers and the optimizer's state are settled; return the steps to profile."""
    took = 0
    for _ in range(max(2, bench.job.protocol.warmups)):
        begin = bench.clock.wall_ns()
        work.step()
        _wait(work, bench)
        took = bench.clock.wall_ns() - begin
    return max(1, min(MOST_STEPS, BUDGET_NS // max(1, took)))


def _wait(work: Workload, bench: Bench) -> None:
    if work.cell.device == "cuda":
        bench.cuda.synchronize()


def _activities(device: str) -> list[ProfilerActivity]:
    host = [ProfilerActivity.CPU]
    return [*host, ProfilerActivity.CUDA] if device == "cuda" else host


def _measurements(split: Breakdown, method: str) -> tuple[Measurement, ...]:
    series = {"profile_step": split.steps}
    series |= {f"profile_{family}": values for family, values in split.families.items()}
    return tuple(
        Measurement(
            metric=name,
            unit="ns",
            better="lower",
            samples=tuple(round(value) for value in values),
            method=method,
        )
        for name, values in series.items()
    )


def _write_trace(found: profile, target: Path) -> None:
    """Write the trace without the path that it was exported to, which may hold a user's name."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "trace.json"
        found.export_chrome_trace(str(plain))
        text = _OWN_PATH.sub(rb'\1"trace.json"', plain.read_bytes())
    target.write_bytes(gzip.compress(text, compresslevel=6, mtime=0))


METRIC = Metric(collect=collect, headline="profile_step")
