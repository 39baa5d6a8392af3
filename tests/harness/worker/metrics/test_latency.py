from dataclasses import replace

import pytest
import torch

from harness.schema import Protocol
from harness.worker import workload
from harness.worker.clock import Clock
from harness.worker.metric import METRICS, Bench
from harness.worker.metrics.latency import METRIC, collect

MS = 1_000_000


def by_name(findings):
    return {found.metric: found for found in findings.measurements}


def test_the_folder_is_the_registry() -> None:
    assert {"flops", "latency", "peak_memory"} <= set(METRICS.names())
    assert METRICS.load("latency") is METRIC


def test_cpu_time_is_the_headline_and_wall_time_stands_beside_it(job) -> None:
    ticks = {"cpu": 0, "wall": 0}

    def build(of):
        work = workload.build(of)

        def step():
            ticks["cpu"] += 3 * MS
            ticks["wall"] += 5 * MS

        return replace(work, step=step)

    clock = Clock(cpu_ns=lambda: ticks["cpu"], wall_ns=lambda: ticks["wall"])
    findings = collect(Bench(job=job(), build=build, clock=clock))
    found = by_name(findings)
    assert found["latency"].samples == (3 * MS,) * 3
    assert found["latency_wall"].samples == (5 * MS,) * 3
    assert found["latency"].warmups == (3 * MS,)
    assert found["latency"].stop == "enough"
    assert found["latency"].method == "process CPU time, 1 thread, one step a sample"
    assert findings.facts["steps_per_sample"] == 1
    assert METRIC.headline in found


@pytest.mark.parametrize("phase", ["forward", "train_step"])
def test_every_contender_is_sampled_by_the_same_rule(job, phase: str) -> None:
    protocol = Protocol(warmups=2, min_samples=4, max_samples=4, min_time_s=0.0)
    counts = {
        len(
            by_name(collect(Bench(job=job(phase=phase, impl=impl, protocol=protocol))))[
                "latency"
            ].samples
        )
        for impl in ("reference", "eager")
    }
    assert counts == {4}


def test_no_gradient_is_there_when_a_clock_starts(job) -> None:
    model, seen = [], []

    def build(of):
        work = workload.build(of)
        model.append(work.model)
        return work

    now = iter(range(10**12))

    def wall() -> int:
        seen.extend(p.grad is None for m in model for p in m.parameters())
        return next(now) * MS

    bench = Bench(
        job=job(phase="train_step"),
        build=build,
        clock=Clock(cpu_ns=lambda: next(now) * MS, wall_ns=wall),
    )
    collect(bench)
    assert len(seen) > 20
    assert all(seen)


def test_real_samples_are_positive_integers_of_nanoseconds(job) -> None:
    found = by_name(collect(Bench(job=job())))
    for measurement in found.values():
        assert measurement.unit == "ns"
        assert all(isinstance(s, int) and s > 0 for s in measurement.samples)


def test_the_step_is_timed_without_a_dispatch_mode(job) -> None:
    modes = []

    def build(of):
        work = workload.build(of)
        work.model.register_forward_pre_hook(
            lambda *_: modes.append(torch._C._len_torch_dispatch_stack())
        )
        return work

    collect(Bench(job=job(), build=build))
    assert set(modes) == {0}
