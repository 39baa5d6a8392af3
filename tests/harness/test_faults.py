"""Whatever a cell does, it is one result and the other cells are measured."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from harness import store
from harness.schema import Measurement, Outcome, Result, Run

HERE = Path(__file__).parent
HOSTILE = HERE / "hostile"
PLUGINS = sorted(HOSTILE.glob("*.py"))
MANY = """
version: 1
name: many
question: Is every cell measured once?
contenders:
  - {id: a, model: transformer, attention: full, impl: sdpa}
  - {id: b, model: transformer, attention: full, impl: eager}
axes: {phase: [forward, train_step], seq_len: [8, 9, 10]}
fixed: {d_model: 16, heads: 2, d_ff: 16, layers: 1}
metrics: [latency]
protocol: {launches: 1, pairing: apart, min_samples: 3, min_time_s: 0, max_time_s: 0.1}
"""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "harness", *map(str, arguments)]


def harness(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), check=False, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Run]:
    out = tmp_path_factory.mktemp("results")
    plugins = [part for file in PLUGINS for part in ("--plugin", file)]
    done = harness("run", HOSTILE / "hostile.yaml", *plugins, "--out", out)
    return done.returncode, store.open("latest", out)


def ended(run: Run, contender: str, seq_len: int = 16):
    (result,) = [
        r for r in run.results if (r.cell.contender, r.cell.seq_len) == (contender, seq_len)
    ]
    return result


@pytest.mark.parametrize(
    ("contender", "outcome", "words"),
    [
        ("exits", Outcome.CRASHED, "exit code 9"),
        ("sleeps", Outcome.TIMEOUT, "killed after 12 s"),
        ("hoards", Outcome.OUT_OF_MEMORY, "16,777,216 bytes"),
        ("lies", Outcome.WRONG, "values off by 0.01"),
        ("segfaults", Outcome.CRASHED, "SIGSEGV"),
        ("tires", Outcome.CRASHED, "exit code 7 and no answer (launch 1)"),
    ],
)
def test_each_way_to_fail_is_an_outcome_with_its_reason(
    hostile: tuple[int, Run], contender: str, outcome: Outcome, words: str
) -> None:
    result = ended(hostile[1], contender)
    assert (result.outcome, words in str(result.reason)) == (outcome, True), result.reason
    assert result.stage is not None


def test_the_bytes_that_an_out_of_memory_asked_for_are_recorded(hostile: tuple[int, Run]) -> None:
    assert ended(hostile[1], "hoards").requested_bytes == 4 << 22


def test_numbers_of_a_wrong_kernel_are_not_kept(hostile: tuple[int, Run]) -> None:
    assert ended(hostile[1], "lies").measurements == ()


@pytest.mark.parametrize("seq_len", [16, 32])
def test_the_other_cells_are_measured(hostile: tuple[int, Run], seq_len: int) -> None:
    result = ended(hostile[1], "good", seq_len)
    assert result.outcome is Outcome.OK
    assert all(len(m.samples) >= 3 and m.sittings for m in result.measurements)


def test_a_cell_that_the_suite_leaves_out_is_skipped_with_its_reason(
    hostile: tuple[int, Run],
) -> None:
    result = ended(hostile[1], "sleeps", 32)
    assert (result.outcome, result.reason) == (Outcome.SKIPPED, "once is enough")


def test_faults_make_the_exit_code_1(hostile: tuple[int, Run]) -> None:
    assert hostile[0] == 1


def test_a_killed_run_resumes_without_losing_or_repeating_a_cell(
    tmp_path: Path, until_gone: Callable
) -> None:
    suite = tmp_path / "many.yaml"
    suite.write_text(MANY)
    out = tmp_path / "results"
    with subprocess.Popen(
        command("run", suite, "--out", out),
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(4)]
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGKILL)
    assert all(b"samples" in line for line in seen), seen
    until_gone(process.pid for process in family)

    folder = store.resolve("latest", out)
    before = ends(folder)
    assert len(before) >= 4
    done = harness("run", "--resume", folder.name, "--out", out)
    assert done.returncode == 0, done.stderr
    after = ends(folder)
    assert set(after.values()) == {1}
    assert set(before) <= set(after)
    assert set(after) == {cell.id for cell in store.open(folder).header.cells}


def test_ctrl_c_between_turns_keeps_what_is_finished_and_the_run_goes_on(tmp_path: Path) -> None:
    suite = tmp_path / "many.yaml"
    suite.write_text(MANY.replace("launches: 1, pairing: apart", "launches: 2, pairing: chunked"))
    out = tmp_path / "results"
    with subprocess.Popen(
        command("run", suite, "--out", out),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("launch 1 of 2: 12 cells timed in turns"):
            pass
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 130
    assert "--resume" in rest
    folder = store.resolve("latest", out)
    assert {result.outcome for result in store.open(folder).results} == {Outcome.OK}

    done = harness("run", "--resume", folder.name, "--out", out)
    assert done.returncode == 0, done.stderr
    timed = {r.cell.id: times(r) for r in store.open(folder).results}
    assert len(timed) == 12
    assert all(len(m.launches) == 2 == len(m.sittings) for m in timed.values())
    company = Counter(name for m in timed.values() for name in m.sittings)
    assert set(company.values()) == {2}  # each sitting was one of both contenders


def times(result: Result) -> Measurement:
    return next(m for m in result.measurements if m.metric == "latency")


def ends(folder: Path) -> Counter[str]:
    """Count the end records of each cell over all shards."""
    lines = [
        json.loads(line)
        for shard in (folder / "shards").glob("*.jsonl")
        for line in shard.read_text().splitlines()
        if line.endswith("}")
    ]
    return Counter(line["cell_id"] for line in lines if line["kind"] == "cell_end")
