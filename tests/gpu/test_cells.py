"""Cells of the harness on a real device, through the fork server as in a run."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness import cli, store
from harness.executors.local import Local
from harness.schema import Outcome
from harness.worker import workload
from harness.worker.metric import METRICS, Bench

MIB = 1 << 20
SUITE = Path(__file__).parents[2] / "suites" / "long_seq.yaml"


@pytest.fixture
def executor() -> Iterator[Local]:
    """A fork server that ends with the test."""
    with closing(Local()) as local:
        yield local


def execute(executor: Local, job):
    return executor.execute(job, lambda _stage: None)[0]


def opened_devices(process: int) -> set[str]:
    """Return the files of NVIDIA devices that a process has open."""
    links = {str(one.readlink()) for one in Path(f"/proc/{process}/fd").iterdir()}
    return {link for link in links if link.startswith("/dev/nvidia")}


def test_every_forked_child_opens_cuda_and_the_server_never_does(executor, job) -> None:
    asked = job(metrics=("latency", "peak_memory", "flops"))
    for phase in ("forward", "train_step", "forward"):
        result = execute(executor, replace(asked, cell=replace(asked.cell, phase=phase)))
        assert result.outcome is Outcome.OK, result.reason
    assert executor._process is not None
    assert opened_devices(executor._process.pid) == set()


def test_a_cell_tells_all_its_figures(executor, job) -> None:
    result = execute(executor, job(metrics=("latency",), seq_len=2048))
    assert result.outcome is Outcome.OK, result.reason
    found = {m.metric: m for m in result.measurements}
    assert {"latency", "latency_hot", "latency_host", "latency_first"} <= set(found)
    assert all(m.samples and min(m.samples) > 0 for m in found.values())
    assert ("latency_graph" in found) == (result.facts["graph_unavailable"] is None)
    assert result.facts["launch_hidden"]
    assert result.facts["sampling_compiles"] == [0]
    assert result.facts["l2_bytes"]


def test_a_forward_pass_of_exact_attention_is_captured(executor, job) -> None:
    result = execute(executor, job(metrics=("latency",)))
    assert result.facts["graph_unavailable"] is None


@pytest.mark.parametrize("phase", ["forward", "train_step"])
def test_scores_that_no_card_holds_are_an_out_of_memory_with_bytes(executor, job, phase) -> None:
    asked = job(metrics=("latency", "peak_memory"), impl="eager", seq_len=1 << 19, phase=phase)
    result = execute(executor, asked)
    assert result.outcome is Outcome.OUT_OF_MEMORY, (result.outcome, result.reason)
    assert result.requested_bytes is not None
    assert result.requested_bytes >= 1 << 38  # as many bytes as there are pairs
    after = execute(executor, job(metrics=("flops",)))
    assert after.outcome is Outcome.OK, after.reason


def test_the_allocators_peak_sees_a_spike_that_is_freed_at_once(job) -> None:
    asked = job(metrics=("peak_memory",))

    def build(of):
        def step():
            return torch.empty(64 * MIB, dtype=torch.uint8, device="cuda").zero_()[:1].float()

        return replace(workload.build(of), step=step)

    found = METRICS.load("peak_memory").collect(Bench(job=asked, build=build))
    peak = next(m for m in found.measurements if m.metric == "peak_memory").samples[0]
    assert abs(peak - 64 * MIB) <= 2 * MIB


def test_sdpa_ran_a_fused_kernel_and_no_softmax_of_its_own(job) -> None:
    work = workload.build(job())
    work.step()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work.step()
        torch.cuda.synchronize()
    names = [event.key.lower() for event in profile.key_averages()]
    print(names)  # noqa: T201 - which kernel it was is worth keeping
    assert any(word in name for name in names for word in ("flash", "fmha", "sdpa")), names
    assert not any("softmax" in name for name in names), names


def test_the_shortest_slice_of_long_seq_runs_on_the_device(tmp_path) -> None:
    changes = ["axes.seq_len=[1k]", "protocol.max_time_s=1", "protocol.min_time_s=0.1"]
    arguments = ["run", str(SUITE), "--out", str(tmp_path)]
    for change in changes:
        arguments += ["--set", change]
    assert cli.main(arguments) == cli.EXIT_OK
    (run,) = store.runs(tmp_path)
    assert {r.outcome for r in store.open(run.run_id, tmp_path).results} == {Outcome.OK}
