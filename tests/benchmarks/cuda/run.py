"""Measures the attention kernels against their peers on one CUDA device and judges the bars.

    python -m tests.benchmarks.cuda.run --out results --seconds 260
    TRITON_INTERPRET=1 python -m tests.benchmarks.cuda.run --out /tmp/x --rehearse   # without one

Contenders of a length and phase are timed in turn, in one process. What there is no time for, or
cannot run, is in the run with its reason. The last line is the run's folder.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from harness import store
from harness.schema import Cell, Job, Measurement, Outcome, Protocol, Result
from harness.worker import environment, workload
from models.unsupported import Unsupported
from tests.benchmarks.cuda import bars
from tests.benchmarks.cuda import contenders as c
from tests.benchmarks.cuda.bars import Figure
from tests.benchmarks.cuda.contenders import FORWARD
from tests.benchmarks.cuda.groups import (
    GROUPS,
    METHOD,
    PLAN,
    STEP,
    SUITE,
    Group,
    cell_of,
    header,
    rehearsal,
)
from tests.benchmarks.cuda.timing import WARMUPS, DeviceTimer, HostTimer, Timer, interleave


class Benchmark:
    """One execution: what was measured, and how much time is left."""

    def __init__(self, writer: store.Writer, timer: Timer, left_s: Callable[[], float]) -> None:
        self.writer, self.timer, self.left_s = writer, timer, left_s
        self.figures: list[Figure] = []
        self.extra: dict[str, float] = {}

    def run(self, group: Group, phase: str) -> None:
        """Measure the contenders of a group in one phase."""
        cells = {one.id: cell_of(one, group.shape, phase) for one in group.contenders}
        if self.left_s() <= 0:
            for cell in cells.values():
                self._end(cell, Outcome.SKIPPED, "no time was left")
            return
        steps, peaks = {}, {}
        for one in group.contenders:
            if one is PLAN and phase != FORWARD:
                continue
            self.writer.start(cells[one.id], 1)
            try:
                shape = replace(group.shape, dtype=one.dtype or group.shape.dtype)
                step = c.planning(shape) if one is PLAN else one.step(shape, phase)
                step()  # compiles
                peaks[one.id] = self.timer.peak(step)
                for _ in range(WARMUPS - 1 if group.rounds > 1 else 0):
                    step()
                steps[one.id] = step
            except Exception as error:  # noqa: BLE001 - it must not cost the others their device
                self._end(cells[one.id], _outcome(error), f"{type(error).__name__}: {error}")
        samples = interleave(steps, self.timer, rounds=group.rounds, left_s=self.left_s)
        for name, taken in samples.items():
            self._end(cells[name], Outcome.OK, None, taken, peaks[name])

    def train(self, cell: Cell) -> None:
        """Measure a training step of a whole model."""
        if self.left_s() <= 0:
            self._end(cell, Outcome.SKIPPED, "no time was left")
            return
        self.writer.start(cell, 1)
        try:
            work = workload.build(Job(cell=cell, metrics=(), protocol=Protocol()))
            work.step()  # compiles, and makes the optimizer's state
            peak = self.timer.peak(work.step)
            taken = interleave({"step": work.step}, self.timer, rounds=3, left_s=self.left_s)[
                "step"
            ]
        except Exception as error:  # noqa: BLE001 - as above
            self._end(cell, _outcome(error), f"{type(error).__name__}: {error}")
            return
        self._end(cell, Outcome.OK, None, taken, peak)
        self.extra["step_s"] = self.figures[-1].ms / 1e3
        if cell.device == "cuda":
            self.extra["step_bytes"] = float(torch.cuda.max_memory_allocated())

    def _end(
        self,
        cell: Cell,
        outcome: Outcome,
        reason: str | None,
        samples: Sequence[float] = (),
        peak: int | None = None,
    ) -> None:
        taken = tuple(round(one) for one in samples)
        found = [
            Measurement(metric="latency", unit="ns", better="lower", samples=taken, method=METHOD)
        ]
        if peak is not None:
            found.append(
                Measurement(metric="peak_memory", unit="byte", better="lower", samples=(peak,))
            )
        where = environment.environment(cell, None)
        self.writer.environment(where)
        self.writer.end(
            Result(
                cell=cell,
                outcome=outcome,
                reason=reason,
                measurements=tuple(found) if taken else (),
                environment=where.id,
                facts={"impl": cell.impl},
                started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            )
        )
        self.figures.append(
            Figure(
                contender=cell.contender,
                phase=cell.phase,
                seq_len=cell.seq_len,
                batch=cell.batch,
                samples_ns=taken,
                peak_bytes=peak,
                reason=reason,
            )
        )
        print(line(self.figures[-1]), flush=True)  # noqa: T201 - a script


def line(figure: Figure) -> str:
    """Return a figure in words."""
    place = f"{figure.contender:20} {figure.phase:17} {figure.seq_len:8} x{figure.batch}"
    if not figure.samples_ns:
        return f"{place}  {figure.reason}"[:300]
    low, high = min(figure.samples_ns) / 1e6, max(figure.samples_ns) / 1e6
    memory = "" if figure.peak_bytes is None else f"  {figure.peak_bytes / 2**20:.0f} MiB"
    spread = f"[{low:.3f} .. {high:.3f}] of {len(figure.samples_ns)}"
    return f"{place}  {figure.ms:.3f} ms {spread}{memory}"


def _outcome(error: Exception) -> Outcome:
    if isinstance(error, torch.OutOfMemoryError):
        return Outcome.OUT_OF_MEMORY
    missing = isinstance(error, Unsupported | ImportError) or "No available kernel" in str(error)
    return Outcome.UNSUPPORTED if missing else Outcome.ERROR


def main(arguments: Sequence[str]) -> int:
    """Measure, store, print the bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=store.RESULTS)
    parser.add_argument("--seconds", type=float, default=260.0)
    parser.add_argument("--rehearse", action="store_true", help="in small, without a device")
    asked = parser.parse_args(arguments)
    begin = time.monotonic()
    groups, step = rehearsal() if asked.rehearse else (GROUPS, STEP)
    timer = HostTimer() if asked.rehearse else DeviceTimer()
    run_id = store.new_run_id(SUITE, datetime.now(UTC), begin)
    with store.Writer.create(asked.out, header(run_id, groups, step, arguments)) as writer:
        bench = Benchmark(writer, timer, lambda: asked.seconds - (time.monotonic() - begin))
        for number, group in enumerate(groups):
            for phase in group.phases:
                bench.run(group, phase)
            if number == 1 or len(groups) == 1:
                bench.train(step)
        told = [f"attention mass met at {n}: {value:.3f}" for n, value in recalls(groups, bench)]
        told += [str(row) for row in bars.rows(bench.figures, bench.extra)]
        print("\n".join(told))  # noqa: T201 - a script
        (writer.folder / "bars.txt").write_text("\n".join(told) + "\n")
        writer.finish("finished")
    print(asked.out / run_id)  # noqa: T201 - a script
    return 0


def recalls(groups: Iterable[Group], bench: Benchmark) -> list[tuple[int, float]]:
    """Return the mass that our rounds meet, by length."""
    lengths = {group.shape.seq_len: group.shape for group in groups}
    return [(n, c.recall(shape)) for n, shape in lengths.items() if bench.left_s() > 0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
