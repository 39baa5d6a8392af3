from __future__ import annotations

from collections.abc import Mapping

from harness import export, report, store
from harness.codec import encode
from harness.frontier import Search
from harness.schema import Measurement, Outcome, Result, Run
from harness.telling import frontiers
from harness.telling.answer import answer

MIB = 1 << 20
SEARCH = Search(memory=(64 * MIB, 128 * MIB), start=512, limit=4096, resolution=512)
OK = "ok"
FULL = {512: OK, 1024: "out_of_memory"}


def probe(make_cell, make_result, name: str, budget: int, length: int, outcome: str) -> Result:
    cell = make_cell(name, length, memory_bytes=budget, phase="train_step")
    if outcome == OK:
        peak = Measurement(
            metric="peak_allocated", unit="byte", better="lower", samples=(budget // 2,)
        )
        found = make_result(cell)
        return Result(
            cell=cell, outcome=Outcome.OK, measurements=(peak,), environment=found.environment
        )
    reason = "tried to allocate 3 bytes beyond the host's memory limit, in the backward"
    asked = 3 * MIB if outcome == "out_of_memory" else None
    return make_result(
        cell, outcome=Outcome(outcome), reason=reason, requested_bytes=asked, stage="peak_memory"
    )


def searched(
    make_cell, make_result, make_run, worlds: Mapping[tuple[str, int], Mapping[int, str]]
) -> Run:
    results = [
        probe(make_cell, make_result, name, budget * MIB, length, outcome)
        for (name, budget), world in worlds.items()
        for length, outcome in world.items()
    ]
    return make_run(results, frontier=encode(SEARCH))


def example(make_cell, make_result, make_run) -> Run:
    worlds = {
        ("transformer", 64): {**FULL, 1536: "out_of_memory"},
        ("reformer", 64): {512: OK, 1024: OK, 2048: "out_of_memory", 1536: "timeout"},
        ("transformer", 128): dict.fromkeys((512, 1024, 2048, 4096), OK),
        ("reformer", 128): {512: OK, 1024: "out_of_memory", 1536: OK},
    }
    return searched(make_cell, make_result, make_run, worlds)


def test_the_table_has_the_longest_length_by_contender_and_budget(
    make_cell, make_result, make_run
) -> None:
    lengths, _ = frontiers.shown(example(make_cell, make_result, make_run), ())
    assert lengths.title == "train_step: longest sequence that fits [tokens]"
    assert lengths.header == ("", "within 64.0 MiB", "within 128 MiB")
    assert lengths.rows == (
        ("transformer", "512", "at least 4k"),
        ("reformer", "1k (2.00x)", "512 (0.12x)"),
    )


def test_what_ends_a_search_is_told_with_place_and_bytes(make_cell, make_result, make_run) -> None:
    _, ends = frontiers.shown(example(make_cell, make_result, make_run), ())
    full, reached, timed, again = ends.rows
    assert full[1:] == (
        *("64.0 MiB", "512", "32.0 MiB", "1k"),
        "out of memory: asked for 3.00 MiB more in the backward",
    )
    assert reached[3:] == ("64.0 MiB", "-", "the limit of the search")
    assert timed[4] == "1536"
    assert timed[5].startswith("timeout: ")
    assert again[5].endswith("fits again at 1536")


def test_a_search_that_has_not_ended_claims_no_frontier(make_cell, make_result, make_run) -> None:
    run = searched(make_cell, make_result, make_run, {("a", 64): {512: OK}, ("b", 64): FULL})
    lengths, ends = frontiers.shown(run, ())
    assert lengths.rows[0][1] == "at least 512"
    assert ends.rows[0][5] == "the search has not ended"
    assert ends.rows[1][5].endswith("the search has not ended")  # 1536 is not checked yet


def test_the_answer_names_who_reaches_furthest(make_cell, make_result, make_run) -> None:
    text = answer(example(make_cell, make_result, make_run))
    assert "In train_step, reformer reaches furthest within 64.0 MiB (1k tokens" in text
    assert "transformer reaches furthest within 128 MiB (at least 4k tokens" in text
    assert "Measured on Example CPU 9000" in text


def test_where_nothing_fits_the_answer_says_so(make_cell, make_result, make_run) -> None:
    run = searched(make_cell, make_result, make_run, {("a", 64): {512: "out_of_memory"}})
    assert "nothing fits within 64.0 MiB" in answer(run)
    assert frontiers.shown(run, ())[0].rows == (("a", "none"),)


def test_report_and_markdown_show_the_frontier(make_cell, make_result, make_run) -> None:
    run = example(make_cell, make_result, make_run)
    assert [drawing.sheet for drawing in report.tables(run)] == frontiers.shown(run, ())
    assert "longest sequence that fits" in export.export(run, "markdown")


def test_the_frame_has_budgets_and_the_frontier_of_each_search(
    make_cell, make_result, make_run
) -> None:
    table = store.frame(example(make_cell, make_result, make_run))
    assert set(table["memory_bytes"]) == {64 * MIB, 128 * MIB}
    found = table[table["metric"] == "frontier"]
    rows = zip(found["contender"], found["memory_bytes"], found["value"], strict=True)
    assert set(rows) == {
        ("transformer", 64 * MIB, 512.0),
        ("reformer", 64 * MIB, 1024.0),
        ("transformer", 128 * MIB, 4096.0),
        ("reformer", 128 * MIB, 512.0),
    }
    assert found["value"].tolist() == found["seq_len"].tolist()
