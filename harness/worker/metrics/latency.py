"""Latency: time of a step. CPU and wall time on a CPU; cold, hot, graph and host time on CUDA."""

from __future__ import annotations

import torch

from harness.schema import Measurement
from harness.worker.device_latency import first_call, on_cuda
from harness.worker.disturbance import Machine, disturbance
from harness.worker.host_timing import time_host
from harness.worker.metric import Bench, Findings, Metric


def collect(bench: Bench) -> Findings:
    """Time fresh steps by the instrument of the cell's device."""
    return on_cuda(bench) if bench.job.cell.device == "cuda" else _on_cpu(bench)


def _on_cpu(bench: Bench) -> Findings:
    """Return process CPU time as `latency` and wall time as `latency_wall`.

    CPU time is blind to waiting and spares us what other processes take; with passive OpenMP waits
    it repeats within a few percent where wall time does not.
    """
    work = bench.fresh()
    machine = Machine()
    before = machine.counters()
    times = time_host(work.step, bench.job.protocol, bench.clock, bench.turns)
    disturbed = disturbance(
        before, machine.counters(), machine.load_average(), times.cpu, times.wall
    )
    threads = f"{work.cell.threads} thread{'s' * (work.cell.threads != 1)}"
    steps = f"mean of {times.steps} steps" if times.steps > 1 else "one step"
    return Findings(
        measurements=(
            Measurement(
                metric="latency",
                unit="ns",
                better="lower",
                samples=times.cpu,
                warmups=times.cpu_warmups,
                stop=times.stop,
                method=f"process CPU time, {threads}, {steps} a sample",
            ),
            Measurement(
                metric="latency_wall",
                unit="ns",
                better="lower",
                samples=times.wall,
                warmups=times.wall_warmups,
                stop=times.stop,
                method=f"wall time, {threads}, {steps} a sample",
            ),
        ),
        facts={
            **work.facts,
            "steps_per_sample": times.steps,
            "threads": torch.get_num_threads(),
            **disturbed,
        },
    )


METRIC = Metric(collect=collect, headline="latency", repeats=True, opening=first_call)
