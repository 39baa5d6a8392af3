"""Laws of kept tables: they say what the shards say, they never outlive them, nobody needs them."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from harness import store
from harness.schema import Outcome, Run
from harness.storage import archive, cache, runs

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, make_run, make_cell, make_result) -> Write:
    """Return a function that writes a finished run of some lengths and returns its folder."""

    def writer(run_id: str, *lengths: int, **changes) -> Path:
        results = [
            make_result(make_cell(seq_len=n), latency=(n, n + 1), **changes) for n in lengths
        ]
        run: Run = make_run(results, run_id=run_id)
        with store.Writer.create(tmp_path, run.header) as shard:
            for environment in run.environments.values():
                shard.environment(environment)
            for result in run.results:
                shard.start(result.cell, 1)
                shard.end(result)
            shard.finish("finished")
        return shard.folder

    return writer


def kept(folder: Path) -> list[Path]:
    return sorted((folder.parent / cache.FOLDER).glob("*"))


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    samples = [[tuple(each) for each in table["samples"]] for table in (one, other)]
    assert samples[0] == samples[1]
    pd.testing.assert_frame_equal(one.drop(columns="samples"), other.drop(columns="samples"))


def test_a_kept_table_says_what_the_shards_say(write: Write) -> None:
    folder = write("a", 512, 1024)
    fresh = store.frame(store.open(folder))
    assert not store.is_kept(folder)
    same(store.frame(folder), fresh)
    assert store.is_kept(folder)
    same(store.frame(folder), fresh)


def test_a_kept_table_is_read_instead_of_the_shards(write: Write, monkeypatch) -> None:
    folder = write("a", 512)
    expected = store.frame(folder)
    monkeypatch.setattr(archive, "read", lambda folder: pytest.fail("read the shards again"))
    same(store.frame(folder), expected)


def test_tables_of_several_runs_are_one(write: Write) -> None:
    folders = [write("a", 512), write("b", 1024, outcome=Outcome.WRONG, reason="differs by 0.3")]
    for _ in range(2):  # first made, then kept
        table = store.frame(*folders)
        same(table, store.frame(*map(store.open, folders)))
        assert table["run_id"].tolist() == ["a"] * 2 + ["b"] * 2


def test_what_changed_is_read_anew_and_the_old_table_goes(write: Write, make_cell, make_result):
    folder = write("a", 512)
    assert len(store.frame(folder)) == 2
    (old,) = kept(folder)
    with store.Writer.resume(folder) as writer:
        writer.end(make_result(make_cell(seq_len=1024), latency=(5,)))
        writer.finish("finished")
    assert len(store.frame(folder)) == 4
    (new,) = kept(folder)
    assert new != old


def test_a_run_that_still_grows_is_not_kept(write: Write) -> None:
    folder = write("a", 512)
    with store.Writer.resume(folder):
        assert len(store.frame(folder)) == 2
        assert not store.is_kept(folder)
        assert kept(folder) == []
    assert len(store.frame(folder)) == 2
    assert store.is_kept(folder)


@pytest.mark.parametrize("damage", [b"", b"not an Arrow file"])
def test_a_damaged_table_is_made_anew(write: Write, damage: bytes) -> None:
    folder = write("a", 512)
    expected = store.frame(folder)
    (path,) = kept(folder)
    path.write_bytes(damage)
    same(store.frame(folder), expected)
    assert path.stat().st_size > 1000


def test_other_code_makes_other_tables(write: Write, monkeypatch) -> None:
    folder = write("a", 512)
    store.frame(folder)
    monkeypatch.setattr(cache, "_code", lambda: "another version")
    assert not store.is_kept(folder)


def test_where_nothing_can_be_written_nothing_is_kept(write: Write) -> None:
    folder = write("a", 512)
    (folder.parent / cache.FOLDER).write_text("a file where the folder should be")
    assert len(store.frame(folder)) == 2
    assert not store.is_kept(folder)


def test_progress_is_told(write: Write) -> None:
    folders = [write("a", 512), write("b", 512)]
    told: list[tuple[int, int]] = []
    store.frame(*folders, told=lambda done, of: told.append((done, of)))
    assert told == [(0, 2), (1, 2), (2, 2)]


def test_notes_stay_with_the_table(write: Write) -> None:
    folder = write("a", 512)
    (folder / "shards" / "x-1-2.jsonl").write_text('{"kind":"writer"}\n{"kind":"cell_')
    for _ in range(2):
        (note,) = store.notes(folder)
        assert "the last line is torn" in note
    assert store.is_kept(folder)


def test_one_result_is_found_without_the_others(write: Write) -> None:
    folder = write("a", 512, 1024)
    run = store.open(folder)
    for result in run.results:
        assert store.result(folder, result.cell.id) == result
    assert store.result(folder, "nothing") is None
    assert store.environments(folder) == run.environments


def test_an_outline_tells_all_but_the_cells(write: Write) -> None:
    folder = write("a", 512, 1024)
    outline, header = store.outline(folder), store.open(folder).header
    assert (outline.planned, outline.state, outline.outcomes) == (2, "finished", {"ok": 2})
    assert outline.header.cells == ()
    assert outline.header.contenders == header.contenders


def test_summaries_are_kept_until_a_header_changes(write: Write, monkeypatch) -> None:
    folder = write("a", 512)
    first = store.runs(folder.parent)
    monkeypatch.setattr(runs, "summary", lambda folder: pytest.fail("read the header again"))
    assert store.runs(folder.parent) == first
    monkeypatch.undo()
    header = folder / "run.json"
    header.write_text(header.read_text().replace('"suite": "long_seq"', '"suite": "other_suite"'))
    assert [run.suite for run in store.runs(folder.parent)] == ["other_suite"]


@pytest.mark.parametrize("damage", ["", "[]", '{"a": 1}', '{"a": {"run": {"x": 1}}}'])
def test_a_damaged_list_of_summaries_is_made_anew(write: Write, damage: str) -> None:
    folder = write("a", 512)
    expected = store.runs(folder.parent)
    (folder.parent / cache.FOLDER / "runs.json").write_text(damage)
    assert store.runs(folder.parent) == expected
