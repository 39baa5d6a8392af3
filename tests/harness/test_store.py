"""Laws of the results: nothing acknowledged is lost, nothing torn is believed."""

import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from harness import store
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
from harness.storage import shards

GOLDEN = Path(__file__).parent / "golden" / "schema-1"
ENVIRONMENT = Environment(fields={"cpu": "a processor", "threads": 1})
OTHERS = [outcome for outcome in Outcome if outcome is not Outcome.OK]


def cell(seq_len: int, contender: str = "transformer") -> Cell:
    return Cell(
        contender=contender,
        model="transformer",
        attention="full",
        impl="sdpa",
        options={"hashes": 4},
        phase="forward",
        seq_len=seq_len,
        batch=2,
        d_model=64,
        heads=2,
        d_ff=128,
        layers=1,
        vocab=256,
        causal=True,
        dtype="float32",
        device="cpu",
        threads=1,
        data="stdlib",
        seed=0,
    )


def latency(*samples: float) -> Measurement:
    return Measurement(
        metric="latency", unit="ns", better="lower", samples=samples, stop="enough", method="clock"
    )


def result(seq_len: int, *measurements: Measurement, attempt: int = 1) -> Result:
    return Result(
        cell=cell(seq_len),
        outcome=Outcome.OK,
        measurements=measurements or (latency(10, 12, 11),),
        facts={"parameters": 1234},
        environment=ENVIRONMENT.id,
        attempt=attempt,
        started_at="2026-11-23T09:10:11+00:00",
        wall_ns=99,
    )


def header(
    run_id: str = "20261123T091011Z-long_seq-3f9a", lengths: tuple[int, ...] = (512, 1024)
) -> RunHeader:
    return RunHeader(
        run_id=run_id,
        suite="long_seq",
        suite_text="version: 1\n",
        question="Which is fastest?",
        command=("run", "suites/long_seq.yaml"),
        created_at=f"{run_id[:4]}-11-23T09:10:11+00:00",
        contenders=(
            Contender(id="transformer", model="transformer", attention="full", impl="sdpa"),
        ),
        metrics=("latency",),
        protocol=Protocol(),
        cells=tuple(cell(n) for n in lengths),
    )


def finished_run(root: Path, run_id: str, *results: Result) -> Path:
    lengths = tuple(each.cell.seq_len for each in results) or (512, 1024)
    with store.Writer.create(root, header(run_id, lengths)) as writer:
        for each in results:
            writer.start(each.cell, each.attempt)
            writer.end(each)
        writer.finish("finished")
    return writer.folder


def bury(path: Path) -> None:
    """Make a shard's writer look like a process that is gone, and that did not close it."""
    text = path.read_text().replace('"process_created_s":', '"process_created_s":-')
    path.write_text(text.removesuffix('{"kind":"closed"}\n'))


def only_shard(folder: Path) -> Path:
    (path,) = (folder / "shards").iterdir()
    return path


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    with store.Writer.create(tmp_path, header()) as writer:
        writer.environment(ENVIRONMENT)
        for each in (result(1024), result(512)):
            writer.start(each.cell, 1)
            writer.end(each)
        writer.finish("finished")
    expected = Run(
        header=header(),
        results=(result(512), result(1024)),  # planned order, not the order of writing
        environments={ENVIRONMENT.id: ENVIRONMENT},
    )
    assert store.open(writer.folder) == expected
    assert store.runs(tmp_path) == [
        store.RunSummary(
            run_id=header().run_id,
            path=writer.folder,
            suite="long_seq",
            created_at=header().created_at,
            state="finished",
            planned=2,
            outcomes={"ok": 2},
        )
    ]


@pytest.mark.parametrize("outcome", OTHERS)
def test_every_outcome_keeps_its_reason(tmp_path: Path, outcome: Outcome) -> None:
    failed = replace(result(512), outcome=outcome, reason="why", stage="time", requested_bytes=7)
    folder = finished_run(tmp_path, "a", failed)
    assert store.open(folder).results == (failed,)
    assert store.finished(store.open(folder)) == {failed.cell.id}


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    finished_run(tmp_path, "a", result(512))
    with pytest.raises(store.StoreError, match="'a' exists"):
        store.Writer.create(tmp_path, header("a"))
    assert len(store.open("a", tmp_path).results) == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_refused_and_nothing_is_written(tmp_path: Path, bad: float) -> None:
    with store.Writer.create(tmp_path, header()) as writer:
        before = only_shard(writer.folder).read_bytes()
        with pytest.raises(store.StoreError, match=r"transformer-forward-512.*JSON"):
            writer.end(result(512, latency(1, bad)))
        assert only_shard(writer.folder).read_bytes() == before
    with pytest.raises(store.StoreError, match="JSON"):
        store.Writer.create(tmp_path, replace(header("b"), gate={"over": bad}))
    assert not (tmp_path / "b").exists()


def test_a_line_cut_short_by_a_full_disk_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with store.Writer.create(tmp_path, header()) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(shards.os, "write", lambda file, line: write(file, line[:40]))
            with pytest.raises(OSError, match="disk full"):
                writer.end(result(512))
        writer.end(result(1024))
    run = store.open(writer.folder)
    assert [each.cell.seq_len for each in run.results] == [1024]
    assert run.notes == ()


def test_a_last_record_torn_at_any_byte_costs_only_itself(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, "a", result(512), result(1024))
    path = only_shard(folder)
    bury(path)
    text = path.read_bytes()
    last = text.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(text)):
        path.write_bytes(text[:end])
        run = store.open(folder)
        assert run.results[0] == result(512)
        assert run.results[1].outcome is Outcome.CRASHED
        assert store.finished(run) == {cell(512).id}
        assert len(run.notes) == (end > last), "a torn line is reported, a missing one is not"
        assert all("torn" in note for note in run.notes)
    path.write_bytes(text)
    assert len(store.finished(store.open(folder))) == 2


def test_a_shard_torn_in_its_first_line_is_only_a_note(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, "a", result(512))
    (folder / "shards" / "x-1-2.jsonl").write_bytes(b'{"kind":"wri')
    run = store.open(folder)
    assert len(run.results) == 1
    assert len(run.notes) == 1


def test_resuming_never_touches_the_torn_shard(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, "a", result(512), result(1024))
    path = only_shard(folder)
    bury(path)
    torn = path.read_bytes()[:-20]
    path.write_bytes(torn)
    assert store.runs(tmp_path)[0].state == "finished"
    with store.Writer.resume(folder) as writer:
        assert store.runs(tmp_path)[0].state == "running"
        writer.start(cell(1024), 2)
        writer.end(result(1024, attempt=2))
        writer.finish("finished")
    assert path.read_bytes() == torn
    assert store.open(folder).results == (result(512), result(1024, attempt=2))


def test_a_start_without_an_end_is_a_crash_once_its_writer_is_gone(tmp_path: Path) -> None:
    with store.Writer.create(tmp_path, header()) as writer:
        writer.start(cell(512), 1)
        writer.end(result(512))
        writer.start(cell(1024), 1)
        assert len(store.open(writer.folder).results) == 1, "its writer lives: not there yet"
        assert store.runs(tmp_path)[0].state == "running"
    crashed = store.open(writer.folder).results[1]
    assert (crashed.outcome, crashed.cell) == (Outcome.CRASHED, cell(1024))
    assert crashed.reason == "its process died without an answer"
    assert store.finished(store.open(writer.folder)) == {cell(512).id}


def test_a_writer_that_was_killed_leaves_an_interrupted_run(tmp_path: Path) -> None:
    writer = store.Writer.create(tmp_path, header())
    writer.start(cell(512), 1)
    assert store.runs(tmp_path)[0].state == "running"
    bury(only_shard(writer.folder))
    (summary,) = store.runs(tmp_path)
    assert (summary.state, summary.outcomes) == ("interrupted", {"crashed": 1})


def test_a_later_attempt_replaces_an_earlier_one(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, "a", result(512))
    with store.Writer.resume(folder) as writer:
        writer.start(cell(512), 2)
        assert store.open(folder).results == (result(512),), "not answered yet: the old one counts"
        writer.end(result(512, latency(5), attempt=2))
    assert store.open(folder).results == (result(512, latency(5), attempt=2),)


def test_an_abandoned_cell_counts_as_never_begun(tmp_path: Path) -> None:
    with store.Writer.create(tmp_path, header()) as writer:
        writer.start(cell(512), 1)
        writer.abandon(cell(512), "interrupted")
    assert store.open(writer.folder).results == ()
    assert store.runs(tmp_path)[0].state == "interrupted"


def test_two_writers_of_one_run_are_refused_within_a_process(tmp_path: Path) -> None:
    with store.Writer.create(tmp_path, header()) as writer:
        with pytest.raises(store.StoreError, match=f"process {os.getpid()}"):
            store.Writer.resume(writer.folder)
        writer.end(result(512))
    assert len(list((writer.folder / "shards").iterdir())) == 1
    store.Writer.resume(writer.folder).finish("interrupted")


WRITER = """
import sys
from pathlib import Path
from harness import store
from harness.storage import shards
from harness.schema import Measurement, Outcome, Result

folder = Path(sys.argv[1])
done = store.finished(store.open(folder))
with store.Writer.resume(folder) as writer:
    print("ready", flush=True)
    for cell in store.open(folder).header.cells:
        if cell.id not in done:
            writer.start(cell, 1)
            samples = tuple(range(cell.seq_len, cell.seq_len + 50))
            metric = Measurement(metric="latency", unit="ns", better="lower", samples=samples)
            writer.end(Result(cell=cell, outcome=Outcome.OK, measurements=(metric,)))
            print(cell.id, flush=True)
    sys.stdin.read()
"""


def start_writer(folder: Path) -> "subprocess.Popen[str]":
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def kill(child: "subprocess.Popen[str]") -> list[str]:
    """Kill at once; return what it had said by then."""
    child.kill()
    said, _ = child.communicate()
    return said.split()


def test_two_writers_of_one_run_are_refused_across_processes(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, "a")
    child = start_writer(folder)
    with pytest.raises(store.StoreError, match=f"written by process {child.pid}; wait"):
        store.Writer.resume(folder)
    kill(child)
    store.Writer.resume(folder).finish("interrupted")


def test_a_writer_that_was_killed_but_not_yet_buried_is_gone(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, "a")
    child = start_writer(folder)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table
    store.Writer.resume(folder).finish("interrupted")
    kill(child)


def test_kill_9_at_any_moment_loses_no_acknowledged_cell(tmp_path: Path) -> None:
    lengths = tuple(range(1, 401))
    folder = store.Writer.create(tmp_path, header("a", lengths))
    folder.finish("interrupted")
    dice, acknowledged = random.Random(2), set[str]()
    for _ in range(5):
        child = start_writer(folder.folder)
        assert child.stdout is not None
        acknowledged |= {child.stdout.readline().strip() for _ in range(dice.randrange(60))}
        acknowledged |= set(kill(child))
        run = store.open(folder.folder)
        assert acknowledged <= store.finished(run)
        for each in run.results:
            if each.cell.id in acknowledged:
                n = each.cell.seq_len
                assert each.measurements[0].samples == tuple(range(n, n + 50))
    ends = [
        json.loads(line)["cell_id"]
        for path in (folder.folder / "shards").iterdir()
        for line in path.read_bytes().split(b"\n")[:-1]
        if b'"kind":"cell_end"' in line
    ]
    assert len(ends) == len(set(ends)) == len(store.finished(store.open(folder.folder)))


def test_unknown_keys_kinds_and_versions_are_tolerated(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, "a", result(512), result(1024))
    path = only_shard(folder)
    lines = path.read_text().splitlines()
    new = json.loads(lines[2])
    new["result"] |= {"energy": {"joule": 3.5}}
    new["result"]["cell"] |= {"colour": "blue"}
    lines[2] = json.dumps(new)
    lines.insert(3, '{"kind":"heartbeat","load":0.5}')
    path.write_text("\n".join(lines) + "\n")
    head = json.loads((folder / "run.json").read_text())
    head["header"] |= {"schema_version": 99, "mood": "good"}
    (folder / "run.json").write_text(json.dumps(head))
    run = store.open(folder)
    assert run.results == (result(512), result(1024))
    assert run.notes == (
        "run.json: written by schema version 99, newer than 1; what is new in it is left out",
    )
    store.Writer.resume(folder).finish("finished")
    assert json.loads((folder / "run.json").read_text())["header"]["mood"] == "good"


@pytest.mark.parametrize("line", ["[]", "{", "null", '{"kind":"cell_end","result":{"cell":3}}'])
def test_an_unreadable_line_costs_only_itself(tmp_path: Path, line: str) -> None:
    folder = finished_run(tmp_path, "a", result(512), result(1024))
    path = only_shard(folder)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], line, *lines[3:]]) + "\n")
    run = store.open(folder)
    assert len(run.results) == 2
    assert len(run.notes) == 1


def test_an_outcome_of_a_newer_version_costs_only_its_cell(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, "a", result(512), result(1024))
    path = only_shard(folder)
    path.write_text(path.read_text().replace('"outcome":"ok"', '"outcome":"melted"', 1))
    run = store.open(folder)
    assert [each.outcome for each in run.results] == [Outcome.CRASHED, Outcome.OK]
    assert "'melted' is not a valid Outcome" in run.notes[0]


def test_schema_1_stays_readable(tmp_path: Path) -> None:
    folder = shutil.copytree(GOLDEN, tmp_path / "schema-1")
    run = store.open(folder)
    assert run.header.suite == "long_seq"
    assert run.header.protocol.min_samples == 10
    assert [(r.cell.seq_len, str(r.outcome), r.attempt) for r in run.results] == [
        (512, "ok", 1),
        (1024, "out_of_memory", 2),
        (2048, "crashed", 1),
    ]
    assert all(r.cell == replace(cell(512), seq_len=r.cell.seq_len) for r in run.results)
    assert run.results[0].measurements[0].samples == (1_500_000, 1_400_000, 1_600_000)
    assert run.results[1].requested_bytes == 4294967296
    assert run.environments == {ENVIRONMENT.id: ENVIRONMENT}
    assert len(run.notes) == 1
    table = store.frame(folder)
    assert table["metric"].isna().tolist() == [False, False, False, True, True]
    assert table["value"].tolist()[:3] == pytest.approx([0.0015, 1024 / 0.0015, 3_000_000])


def test_runs_are_found_by_path_id_beginning_and_latest(tmp_path: Path) -> None:
    old, new = (finished_run(tmp_path, name) for name in ("2025-old", "2026-new"))
    for name in ("latest", "2026-new", "2026", new, str(new)):
        assert store.resolve(name, tmp_path) == new
    assert store.resolve("2025", tmp_path) == old
    assert [run.path for run in store.runs(tmp_path)] == [new, old]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("long_sq", "no run 'long_sq'; did you mean '2026-new'; runs: 2026-new, 2025-old"),
        ("2025-odl", "no run '2025-odl'; did you mean '2025-old'; runs: 2026-new, 2025-old"),
        ("20", "run '20' is one of 2: 2026-new, 2025-old"),
        ("", "no run ''; runs: 2026-new, 2025-old"),
        ("..", "no run '..'; runs: 2026-new, 2025-old"),
    ],
)
def test_a_name_that_is_no_run_gets_help(tmp_path: Path, name: str, message: str) -> None:
    for run_id in ("2025-old", "2026-new"):
        finished_run(tmp_path / "results", run_id)
    with pytest.raises(store.StoreError) as error:
        store.resolve(name, tmp_path / "results")
    assert str(error.value) == message


def test_a_cell_is_found_by_id_and_beginning(tmp_path: Path) -> None:
    run = store.open(finished_run(tmp_path, "a", result(512), result(1024)))
    assert store.find(run, cell(512).id) == result(512)
    assert store.find(run, "transformer-forward-1024") == result(1024)
    with pytest.raises(store.StoreError, match="is one of 2: transformer-forward-512"):
        store.find(run, "transformer")
    with pytest.raises(
        store.StoreError, match=r"no cell 'transformr-forward-512-float32'.*did you"
    ):
        store.find(run, "transformr-forward-512-float32")


def test_the_fingerprint_follows_the_run(tmp_path: Path) -> None:
    writer = store.Writer.create(tmp_path, header())
    seen = [store.fingerprint(writer.folder)]
    assert seen == [store.fingerprint(writer.folder)]
    writer.end(result(512))
    seen.append(store.fingerprint(writer.folder))
    writer.environment(ENVIRONMENT)
    seen.append(store.fingerprint(writer.folder))
    writer.finish("finished")
    seen.append(store.fingerprint(writer.folder))
    assert len(set(seen)) == 4


def test_no_runs_at_all_is_said(tmp_path: Path) -> None:
    assert store.runs(tmp_path / "nowhere") == []
    with pytest.raises(store.StoreError, match=r"no run 'latest': there are no runs in .*nowhere"):
        store.resolve("latest", tmp_path / "nowhere")


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"header":{}}', '{"header":3}'])
def test_a_broken_folder_is_listed_with_its_problem(tmp_path: Path, content: str | None) -> None:
    finished_run(tmp_path, "2026-good")
    broken = tmp_path / "2027-broken"
    broken.mkdir()
    if content is not None:
        (broken / "run.json").write_text(content)
    good, bad = store.runs(tmp_path)
    assert (good.run_id, bad.run_id, bad.state) == ("2026-good", "2027-broken", "broken")
    assert bad.problem is not None
    assert bad.problem.startswith("2027-broken: ")
    assert store.resolve("latest", tmp_path) == good.path


def test_what_is_not_a_run_is_not_listed(tmp_path: Path) -> None:
    for name in (".cache", "baselines"):
        (tmp_path / name).mkdir()
    (tmp_path / "README.md").write_text("words")
    assert store.runs(tmp_path) == []


def test_an_environment_that_was_changed_is_noted(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, "a")
    (folder / "environment-000000000000.json").write_text('{"fields":{"cpu":"other"}}')
    (folder / "environment-111111111111.json").write_text("{")
    changed, broken = store.open(folder).notes
    assert "was changed" in changed
    assert "cannot be read" in broken


def test_artifacts_have_a_folder_a_cell(tmp_path: Path) -> None:
    with store.Writer.create(tmp_path, header()) as writer:
        folder = writer.artifacts(cell(512))
        assert folder == writer.artifacts(cell(512))
    assert folder == tmp_path / header().run_id / "artifacts" / cell(512).id
    assert folder.is_dir()


def test_run_ids_sort_by_time_and_differ_by_seed() -> None:
    now = datetime(2026, 11, 23, 9, 10, 11, tzinfo=UTC)
    first = store.new_run_id("long_seq", now, 0)
    assert first.startswith("20261123T091011Z-long_seq-")
    assert first == store.new_run_id("long_seq", now.astimezone(timezone(timedelta(hours=2))), 0)
    assert first != store.new_run_id("long_seq", now, 1)
    assert first[:16] < store.new_run_id("a", now + timedelta(seconds=1), 0)[:16]
    assert "/" not in store.new_run_id("../up", now, 0)


def test_the_host_name_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards.socket, "gethostname", lambda: "secret-laptop")
    folder = finished_run(tmp_path, "a", result(512))
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"secret" not in everything
    assert b"secret" not in only_shard(folder).name.encode()


def test_a_writer_of_another_machine_counts_as_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = store.Writer.create(tmp_path, header())
    writer.start(cell(512), 1)
    monkeypatch.setattr(shards.socket, "gethostname", lambda: "elsewhere")
    assert store.open(writer.folder).results[0].outcome is Outcome.CRASHED
