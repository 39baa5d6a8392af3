"""Laws of what a gate writes: the same bytes, nobody called, failures that a CI sees."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from harness import gate, report
from harness.gate import Case, Mode, Terms, Verdict
from harness.judging.finding import RANK, Finding, Judgement
from harness.judging.waivers import Waiver
from harness.schema import Cell, Outcome, Result, Run
from harness.telling import gate_comment, gate_document, gate_sheets, junit
from tests.harness.launched import timed


@pytest.fixture
def verdict(make_run: Callable[..., Run], make_cell: Callable[..., Cell]) -> Verdict:
    """One of each: slower, faster, missing, crashed, waived, too few launches, the same."""
    cells = [make_cell(f"c{i}", 256 + i) for i in range(12)]
    base = [timed(c, seed=1, launches=2 if i == 5 else 5) for i, c in enumerate(cells)]
    candidate = [timed(c, seed=2, launches=2 if i == 5 else 5) for i, c in enumerate(cells)]
    candidate[0] = timed(cells[0], seed=2, ratio=1.3)
    candidate[1] = timed(cells[1], seed=2, ratio=0.7)
    candidate[3] = Result(cell=cells[3], outcome=Outcome.CRASHED, reason="by @SIGSEGV | `x`")
    candidate[4] = timed(cells[4], seed=2, peak=128 << 20)
    del candidate[2]
    ids = frozenset(c.id for c in cells)
    waiver = Waiver(
        cell="c4-*", metric="peak_allocated", reason="cache", expires=date(2026, 12, 1), issue="#9"
    )
    return gate.judge(
        Case(
            base=make_run(base),
            candidate=make_run(candidate),
            terms=Terms(mode=Mode.PAIRED, declared=(ids, ids)),
            waivers=(waiver,),
            today=date(2026, 11, 26),
            names=("main", "this tree"),
            floor=0.012,
        )
    )


def test_json_is_the_same_bytes_for_the_same_inputs(verdict: Verdict) -> None:
    text = gate_document.text(verdict)
    assert gate_document.text(gate.judge(verdict.case)) == text
    shuffled = replace(verdict, findings=tuple(reversed(verdict.findings)))
    assert gate_document.document(shuffled)["cells"] == gate_document.document(verdict)["cells"]


def test_json_has_the_schema_and_the_figures(verdict: Verdict) -> None:
    document = json.loads(gate_document.text(verdict))
    assert (document["schema"], document["verdict"], document["exit_code"]) == (
        "gate-verdict/1",
        "regression",
        1,
    )
    assert document["mode"] == "paired"
    slow = next(
        c for c in document["cells"] if c["id"].startswith("c0-") and c["metric"] == "latency"
    )
    assert slow["verdict"] == "regression"
    assert slow["kind"] == "slower"
    assert slow["ratio"] == pytest.approx(1.3, rel=0.03)
    assert slow["ci90"][0] < slow["ratio"] < slow["ci90"][1]
    assert slow["mde"] > 1.02
    assert slow["base"]["launches"] == 5
    missing = next(c for c in document["cells"] if c["id"].startswith("c2-"))
    assert (missing["state"]["candidate"], missing["kind"]) == ("missing", "missing")
    assert sum(document["suite"]["counts"].values()) == len(document["cells"])


def test_the_table_is_sorted_by_severity_and_waived_comes_last(verdict: Verdict) -> None:
    (table,) = gate_sheets.sheets(verdict)
    assert table.rows[0][0] == "regression"
    assert table.rows[-1][0] == "waived regression"
    ranks = [RANK[Judgement(row[0])] for row in table.rows[:-1]]
    assert ranks == sorted(ranks)
    assert verdict.sentence in table.notes[-1]
    assert any("would be found in four of five gates" in note for note in table.notes)
    assert any("1.2 %" in note for note in table.notes)
    assert len(gate_sheets.sheets(verdict, every=True)[0].rows) == len(verdict.findings)


def test_the_table_is_drawn(verdict: Verdict) -> None:
    console = Console(width=110, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(report.gate(verdict))
    assert "regression" in captured.get()


def test_junit_has_a_case_for_each_finding_and_two_of_the_gate(verdict: Verdict) -> None:
    root = ET.fromstring(junit.text(verdict))
    suite = root.find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    assert len(cases) == len(verdict.findings) + 2
    assert suite.get("tests") == str(len(cases))
    failed = [c for c in cases if c.find("failure") is not None]
    assert suite.get("failures") == str(len(failed))
    names = {(c.get("classname"), str(c.get("name")).partition("-")[0]) for c in failed}
    assert {("gate.latency", "c0"), ("gate.outcome", "c2"), ("gate.run", "complete")} <= names
    errors = [c.get("name") for c in cases if c.find("error") is not None]
    assert [name and name[:2] for name in errors] == ["c3"]


def test_junit_skips_what_cannot_be_told_unless_that_fails(verdict: Verdict) -> None:
    def unclear(*, strict: bool) -> str:
        root = ET.fromstring(junit.text(verdict, strict=strict))
        case = root.find(f".//testcase[@classname='gate.latency'][@name='{few(verdict)}']")
        assert case is not None
        return case[0].tag

    assert (unclear(strict=True), unclear(strict=False)) == ("failure", "skipped")


def test_the_comment_is_sticky_and_calls_nobody(verdict: Verdict) -> None:
    text = gate_comment.text(verdict)
    assert text.startswith(gate_comment.MARKER)
    assert "### Gate: regression" in text
    assert not re.search(r"@\w", text)
    rows = [line for line in text.splitlines() if line.startswith("| c")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {8}
    assert "1 improved" in text
    assert "c5" in text.partition("Could not be judged")[2]


def test_a_long_comment_is_cut_where_the_platform_would_refuse_it(verdict: Verdict) -> None:
    red = next(f for f in verdict.findings if f.is_red)
    many: tuple[Finding, ...] = (replace(red, reason="x" * 5000),) * 200
    text = gate_comment.text(replace(verdict, findings=many), link="https://example.org/log")
    assert len(text) < 65_000
    assert "https://example.org/log" in text


def few(verdict: Verdict) -> str:
    """Return the cell that had too few launches."""
    return next(f.cell for f in verdict.findings if f.kind == "few-launches")
