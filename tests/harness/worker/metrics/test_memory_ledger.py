from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harness import floor
from harness.executors.local import Local
from harness.schema import Job, Outcome, Protocol, Result
from harness.worker import graph, nvml, weighing, workload
from harness.worker.accounts import ACCOUNTS
from harness.worker.allocator import SNAPSHOT, STATISTICS
from harness.worker.memory import ProcessMemory
from harness.worker.metric import Bench, Findings
from harness.worker.metrics import memory_ledger
from harness.worker.metrics.memory_ledger import collect
from harness.worker.nvml import Reading

MIB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="resets Linux's high-water mark")
PARTS = [f"ledger_{name}" for name in (*ACCOUNTS, "fragmentation", "context", "unexplained")]


def sizes(findings: Findings | Result) -> dict[str, float]:
    return {found.metric: found.samples[0] for found in findings.measurements}


def parts(found: dict[str, float]) -> float:
    return sum(found.get(name, 0) for name in PARTS)


@pytest.fixture(scope="module")
def executor() -> Iterator[Local]:
    """The real way to a process whose heap nothing else has used."""
    with closing(Local()) as local:
        yield local


@linux
@pytest.mark.parametrize("phase", ["forward", "train_step"])
def test_on_a_cpu_the_parts_and_a_small_rest_are_the_resident_peak(
    executor: Local, phase: str
) -> None:
    cell = replace(floor.CELL, phase=phase, seq_len=256, d_model=256, d_ff=512, batch=4)
    asked = Job(cell=cell, metrics=("memory_ledger",), protocol=Protocol())
    result, _ = executor.execute(asked, lambda _: None)
    assert result.outcome is Outcome.OK, result.reason
    found = sizes(result)
    assert parts(found) == found["ledger_total"]
    # Code pages of kernels that the short warm-up did not need; 2.5 to 4.6 MiB seen.
    assert abs(found["ledger_unexplained"]) <= 8 * MIB
    assert sum(found[f"ledger_{name}"] for name in ACCOUNTS) == found["ledger_allocated"]
    training = phase == "train_step"
    assert (found["ledger_optimizer_state"] > 0) == training
    assert (found["ledger_activations"] > 0) == training


@linux
def test_a_block_of_a_known_size_is_in_the_ledger_to_the_byte(job) -> None:
    def step():
        block = torch.ones(16 * MIB)
        return block[:1].clone()

    def build(of):
        return replace(workload.build(of), step=step)

    found = sizes(collect(Bench(job=job(), build=build)))
    assert found["ledger_workspace"] == 64 * MIB + 4  # and the number that is returned
    assert found["ledger_parameters"] == 4 * workload.build(job()).parameters
    assert abs(found["ledger_unexplained"]) <= 2 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent(ProcessMemory):
    """A system that tells nothing."""

    def resident(self):
        return None

    def reset_peak(self):
        return False


def test_where_the_system_tells_nothing_the_ledger_is_the_allocators(job) -> None:
    findings = collect(Bench(job=job(), process=Silent()))
    found = sizes(findings)
    assert "ledger_context" not in found
    assert parts(found) == found["ledger_total"] == found["ledger_allocated"]
    assert findings.facts["ledger_context_unknown"]
    assert findings.facts["ledger_total_unknown"]
    assert findings.facts["ledger_fragmentation_unknown"]


def test_the_timeline_is_left_among_the_artifacts(job, tmp_path: Path) -> None:
    collect(Bench(job=replace(job(), artifacts=str(tmp_path / "cell")), process=Silent()))
    line = json.loads((tmp_path / "cell" / weighing.TIMELINE).read_text())
    assert line["columns"][0] == "at_ns"
    assert 0 < len(line["points"]) <= 5000


DEVICE_USED = Reading(value=9000)


class FakeCuda(SimpleNamespace):
    """An allocator that held 100 bytes before and reserved 5000 at its peak."""

    def __init__(self, told: dict[str, int], **more) -> None:
        held = iter([100, 100, 900])
        super().__init__(
            synchronize=lambda: None,
            empty_cache=lambda: None,
            reset_peak_memory_stats=lambda: None,
            memory_reserved=lambda: next(held),
            max_memory_allocated=lambda: 777,
            memory_stats=lambda: told,
            **more,
        )


def on_cuda(job, cuda: FakeCuda, *, process=(), device=DEVICE_USED) -> Findings:
    def build(_):
        return replace(workload.build(job()), step=lambda: None)

    readings = iter(process or [Reading(reason="hidden")] * 2)
    bench = Bench(
        job=job(device="cuda"),
        build=build,
        cuda=cuda,
        device_used=lambda: device,
        process_used=lambda: next(readings),
    )
    return collect(bench)


def told(**changes) -> dict[str, int]:
    full = {key: 10 * number for number, key in enumerate(STATISTICS.values(), start=1)}
    return full | {"reserved_bytes.all.peak": 5000} | changes


def test_on_cuda_the_total_is_what_nvml_tells_of_the_process(job) -> None:
    findings = on_cuda(job, FakeCuda(told()), process=[Reading(value=700), Reading(value=5650)])
    found = sizes(findings)
    assert found["ledger_total"] == 5650
    assert found["ledger_context"] == 600
    assert found["ledger_fragmentation"] == 5000  # the fake workload lies on the CPU
    assert found["ledger_unexplained"] == 50
    assert parts(found) == found["ledger_total"]
    assert found["device_used"] == 9000
    assert {f"cuda_{name}" for name in STATISTICS} <= found.keys()
    assert findings.facts["cuda_statistics_unknown"] is None
    assert findings.facts["ledger_context_unknown"] is None


def test_in_a_container_the_total_is_what_was_reserved_and_the_reason_is_kept(job) -> None:
    """Defect 13: NVML that tells None costs its figures and nothing else."""
    findings = on_cuda(job, FakeCuda(told()), device=Reading(reason="NVML does not tell"))
    found = sizes(findings)
    assert found["ledger_total"] == parts(found) == 5000
    assert not {"ledger_context", "device_used"} & found.keys()
    assert findings.facts["ledger_context_unknown"] == "hidden"
    assert findings.facts["device_used_unknown"] == "NVML does not tell"


def test_statistics_that_an_allocator_lacks_are_named(job) -> None:
    findings = on_cuda(job, FakeCuda({}))
    assert findings.facts["cuda_statistics_unknown"] == sorted(STATISTICS)
    assert parts(sizes(findings)) == sizes(findings)["ledger_total"] == 0


def test_the_allocator_in_use_is_told(job) -> None:
    cuda = FakeCuda(told(), get_allocator_backend=lambda: "cudaMallocAsync")
    assert on_cuda(job, cuda).facts["cuda_allocator"] == "cudaMallocAsync"


def test_a_graph_is_weighed_apart_and_released(job, monkeypatch) -> None:
    log = []
    captured = graph.Graph(replay=lambda: log.append("replay"), release=lambda: log.append("free"))
    monkeypatch.setattr(memory_ledger.graph, "capture", lambda step, cuda: captured)
    found = sizes(on_cuda(job, FakeCuda(told())))
    assert (found["graph_allocated"], found["graph_pool"]) == (777, 800)
    assert log == ["replay", "free"]


def test_a_step_that_is_no_graph_says_why(job) -> None:
    findings = on_cuda(job, FakeCuda(told()))
    assert "graph_pool" not in sizes(findings)
    assert findings.facts["graph_memory_unknown"] == "this torch has no CUDA graphs"


def test_an_out_of_memory_leaves_a_snapshot(job, tmp_path: Path) -> None:
    def build(of):
        if of.artifacts is None:
            return workload.build(job())
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    memory = SimpleNamespace(_dump_snapshot=lambda name: Path(name).write_bytes(b"x"))
    bench = Bench(
        job=replace(job(device="cuda"), artifacts=str(tmp_path)),
        build=lambda of: build(of if of.cell.batch != 1 else replace(of, artifacts=None)),
        cuda=FakeCuda(told(), memory=memory),
        process_used=lambda: Reading(reason="hidden"),
    )
    with pytest.raises(torch.OutOfMemoryError):
        collect(bench)
    assert (tmp_path / SNAPSHOT).exists()


class FakeNvml:
    """A library that knows some processes."""

    class NVMLError(Exception):
        pass

    def __init__(self, processes) -> None:
        self._processes = processes

    def __getattr__(self, name: str):
        return lambda *_: None

    def nvmlDeviceGetComputeRunningProcesses(self, _handle):  # noqa: N802 - NVML's own name
        if isinstance(self._processes, Exception):
            raise self._processes
        return self._processes


@pytest.mark.parametrize(
    ("processes", "value", "reason"),
    [
        ([(1, 5), ("own", 70)], 70, None),
        ([("own", None)], None, "does not tell"),
        ([(1, 5)], None, "as in a container"),
        ([], None, "as in a container"),
        (FakeNvml.NVMLError("no permission"), None, "no permission"),
    ],
)
def test_nvml_tells_the_memory_of_this_process_or_why_not(
    processes, value, reason, monkeypatch
) -> None:
    monkeypatch.setattr(nvml.os, "getpid", lambda: 4321)
    if isinstance(processes, list):
        processes = [
            SimpleNamespace(pid=4321 if pid == "own" else pid, usedGpuMemory=used)
            for pid, used in processes
        ]
    cuda = SimpleNamespace(get_device_properties=lambda _: SimpleNamespace(uuid="1"))
    reading = nvml.process_bytes(FakeNvml(processes), cuda)
    assert reading.value == value
    assert (reading.reason is None) if reason is None else (reason in str(reading.reason))
