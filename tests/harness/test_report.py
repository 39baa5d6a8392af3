"""Laws of what the command line shows."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from harness import report
from harness.compare import compare_runs
from harness.schema import Outcome
from harness.store import RunSummary

STEADY = tuple(range(1_000_000, 1_000_010))


def printed(*renderables, width: int = 100) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=False)
    for each in renderables:
        console.print(each)
    return out.getvalue()


@pytest.mark.parametrize("width", [200, 100, 80, 60, 40])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(long_seq, width: int) -> None:
    text = printed(*report.tables(long_seq), width=width)
    assert max(map(len, text.splitlines())) <= width
    for word in ("transformer-eager", "0.77x", "8k", "103", "memory", "n^0.92", "3.06k"):
        assert word in text


def test_five_lengths_and_contenders_stand_in_one_line_each_at_100_columns(
    make_curves, make_run
) -> None:
    names = ("transformer", "transformer-eager", "local-attention", "reformer-4")
    run = make_run(make_curves({name: lambda n: 1e4 * n for name in names}))
    text = printed(report.tables(run)[0]).splitlines()
    assert len(text) == 3 + len(names) + 4  # title, header, rule; notes and a blank line
    assert all(line.count("x)") == 5 for line in text[4:7])


def test_the_whole_report_is_readable_without_colour(long_seq) -> None:
    text = printed(report.run(long_seq), report.answer(long_seq), width=200)
    assert "\x1b" not in text
    assert "Which is fastest and smallest" in text
    assert "tried to allocate 1.00 GiB at T=4096" in text


def test_texts_are_never_taken_for_markup(make_cell, make_result, make_run) -> None:
    reason = "[red]index[/red] [0] out of range\n\x1b[31mboom"
    failed = make_result(make_cell(), outcome=Outcome.ERROR, reason=reason)
    text = printed(report.run(make_run([failed])), width=200)
    assert "[red]index[/red] [0] out of range ?[31mboom" in text


def test_a_cell_is_shown_with_samples_facts_environment_and_proof(
    make_cell, make_result, make_run
) -> None:
    proof = {"seq_len": 512, "values": 1e-7, "gradients": {"q": 2e-7}}
    run = make_run(
        [make_result(make_cell(), STEADY, 2**20, facts={"proof": proof}, wall_ns=3 * 10**9)]
    )
    text = printed(report.cell(run, run.results[0]))
    for line in ("proof.values", "proof.gradients", "Example CPU 9000", "1.00 MiB", "3.00 s"):
        assert line in text
    assert "latency       10   1.00 ms    1.00 to 1.00 ms" in text


def test_a_failed_cell_is_shown_with_reason_stage_and_bytes(
    make_cell, make_result, make_run
) -> None:
    failed = make_result(
        make_cell(),
        outcome=Outcome.OUT_OF_MEMORY,
        reason="tried to allocate",
        stage="latency",
        requested_bytes=2**30,
        environment=None,
    )
    text = printed(report.cell(make_run([failed]), failed))
    assert "out of memory" in text
    assert "1.00 GiB (1,073,741,824 bytes)" in text
    assert "latency" in text


def test_a_comparison_tells_the_conditions_before_the_ratios(
    make_cell, make_result, make_run
) -> None:
    base = make_run([make_result(make_cell(), STEADY, 2**20)])
    other = make_run([make_result(make_cell(), STEADY, 2**21)], fields={"cpu": "Other"})
    text = printed(report.comparison(compare_runs(base, other)), width=140)
    assert text.index("Other") < text.index("latency")
    assert "incomparable: other cpu" in text
    assert "2.00" in text
    assert "1 cell incomparable" in text


def test_a_comparison_leaves_out_what_only_explains_unless_asked(
    make_cell, make_result, make_run
) -> None:
    result = make_result(make_cell(), STEADY)
    wall = replace(result.measurements[0], metric="latency_wall")
    both = replace(result, measurements=(*result.measurements, wall))
    found = compare_runs(make_run([both]), make_run([both]))
    assert "latency_wall" not in printed(report.comparison(found))
    assert "latency_wall" in printed(report.comparison(found, every=True))


def test_a_plan_lists_the_cells_in_order_with_estimates_if_there_are_any(make_cell) -> None:
    cells = [make_cell(seq_len=1024), make_cell("reformer", 512)]
    text = printed(report.plan(cells))
    assert text.startswith("2 cells")
    assert text.index("transformer") < text.index("reformer")
    assert "estimate" not in text
    told = printed(report.plan(cells, {cells[0].id: "3 s"}))
    assert "3 s" in told
    assert "unknown" in told


def test_runs_are_listed_with_their_state_or_their_problem() -> None:
    created = datetime(2026, 11, 23, tzinfo=UTC).isoformat()
    summaries = [
        RunSummary(
            run_id="one",
            path=Path("one"),
            created_at=created,
            state="finished",
            planned=3,
            outcomes={"ok": 2, "out_of_memory": 1},
        ),
        RunSummary(run_id="two", path=Path("two"), problem="run.json cannot be read"),
    ]
    text = printed(report.listing(report.run_lines(summaries)))
    assert "3 of 3 cells (2 ok, 1 out of memory)" in text
    assert "broken: run.json cannot be read" in text


def test_an_empty_listing_says_so() -> None:
    assert "none" in printed(report.listing([]))


def test_what_is_missing_is_shown_as_missing(make_cell, make_result, make_run) -> None:
    cells = [make_cell(seq_len=n) for n in (512, 1024)]
    empty = replace(make_result(cells[0], STEADY).measurements[0], samples=())
    result = replace(make_result(cells[0]), measurements=(empty,))
    run = make_run([result], cells=cells)
    assert "not run" in printed(report.run(run))
    assert "latency   0   -" in printed(report.cell(run, result))


def test_failures_and_missing_metrics_stand_in_a_comparison(
    make_cell, make_result, make_run
) -> None:
    cells = [make_cell(seq_len=n) for n in (512, 1024, 2048)]
    base = [make_result(cell, STEADY, 2**20) for cell in cells]
    gone = make_result(cells[1], outcome=Outcome.TIMEOUT, reason="after 300 s")
    other = [make_result(cells[0], STEADY[:3]), gone]
    text = printed(report.comparison(compare_runs(make_run(base), make_run(other))), width=200)
    assert "missing: the candidate did not measure it" in text
    assert "regressed: ok -> timeout" in text
    assert "missing: the candidate has no result of this cell" in text
    assert "1 cell regressed, 2 cells missing" in text
