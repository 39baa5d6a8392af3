"""A search for the frontier with real processes: killed, resumed, and told."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from harness import frontier, store
from harness.schema import Outcome
from harness.telling import frontiers

SUITE = """
version: 1
name: reach
question: How far does exact attention reach within 2 MiB?
contenders:
  - {id: eager, model: transformer, attention: full, impl: eager}
axes: {phase: [forward]}
fixed: {d_model: 16, heads: 2, d_ff: 16, layers: 1, device: cpu}
frontier: {memory: [2MiB], start: 64, limit: 1k, resolution: 64}
metrics: [peak_memory]
protocol: {timeout_s: 60}
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits Linux's address space")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "harness", "run", *map(str, arguments)]


@linux
def test_a_killed_search_resumes_and_finds_the_edge_without_repeating_a_length(
    tmp_path: Path, until_gone: Callable
) -> None:
    suite, out = tmp_path / "reach.yaml", tmp_path / "results"
    suite.write_text(SUITE)
    with subprocess.Popen(
        command(suite, "--out", out),
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(2)]
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGKILL)
    assert all(b": ok" in line for line in seen), seen
    until_gone(child.pid for child in family)

    done = subprocess.run(
        command("--resume", store.resolve("latest", out).name, "--out", out),
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "eager reaches furthest within 2.00 MiB" in " ".join(done.stdout.split())
    run = store.open("latest", out)
    lengths = [result.cell.seq_len for result in run.results]
    assert len(lengths) == len(set(lengths))
    (edge,) = frontier.edges(run)
    assert (edge.complete, edge.beyond) == (True, ())
    assert edge.longest is not None
    assert edge.failing is not None
    assert edge.failing.cell.seq_len == edge.length + 64
    assert edge.failing.outcome is Outcome.OUT_OF_MEMORY
    peak = {m.metric: m.samples[0] for m in edge.longest.measurements}["peak_allocated"]
    assert peak <= 2 << 20
    assert edge.failing.requested_bytes
    assert frontiers.reason(edge.failing).endswith("more in the forward")
