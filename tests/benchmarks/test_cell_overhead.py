"""What a cell costs beyond its own measuring: fork, device, proof of the passes, hatch, exit."""

from contextlib import closing

import pytest

from harness.executors.local import Local
from harness.schema import Cell, Job, Outcome, Protocol


@pytest.mark.benchmark(group="harness")
def test_overhead_of_a_cell(benchmark) -> None:
    """Rounds time whole cells; extra_info gives the median of what is not proof or metric."""
    cell = Cell(
        contender="transformer", model="transformer", attention="full", impl="sdpa",
        phase="train_step", seq_len=128, batch=1, d_model=64, heads=2, d_ff=128, layers=1,
        vocab=256, causal=True, dtype="float32", device="cpu", threads=1, data="stdlib", seed=0,
    )  # fmt: skip
    protocol = Protocol(min_samples=5, min_time_s=0.0, max_time_s=0.1)
    job = Job(cell=cell, metrics=("latency", "peak_memory", "flops"), protocol=protocol)
    overheads_s = []

    with closing(Local()) as executor:

        def measure() -> None:
            result, _ = executor.execute(job, lambda _stage: None)
            assert result.outcome is Outcome.OK, result.reason
            overheads_s.append((result.wall_ns - result.measured_ns) / 1e9)

        measure()  # starts the server
        overheads_s.clear()
        benchmark.pedantic(measure, rounds=20)
    overheads_s.sort()
    benchmark.extra_info["overhead_s_median"] = overheads_s[len(overheads_s) // 2]
    benchmark.extra_info["overhead_s_max"] = overheads_s[-1]
