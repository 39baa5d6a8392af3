"""Laws of the verbs `gate` and `baseline`: exit codes, one sentence, files."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from harness import cli, store, suite
from harness.schema import Environment, Outcome, Result, RunHeader
from tests.harness.conftest import FIELDS
from tests.harness.launched import timed

SUITE = """
version: 1
name: small
question: Did it become slower?
contenders:
  - {id: full, model: transformer}
  - {id: eager, model: transformer, impl: eager}
axes: {seq_len: [64, 96, 128, 160, 192]}
fixed: {phase: forward, d_model: 16, heads: 2, layers: 1, device: cpu}
metrics: [latency, peak_memory]
"""
Store = Callable[..., str]


@pytest.fixture
def stored(make_run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """`stored(name, change, text=suite, fields=environment)` writes a run and returns its id."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    for call in ("fsync", "fdatasync"):  # nothing here needs to survive a power cut
        monkeypatch.setattr(os, call, lambda _: None)

    def write(
        name: str,
        change: Callable[[list[Result]], list[Result]] = lambda results: results,
        text: str = SUITE,
        fields: dict[str, Any] | None = None,
    ) -> str:
        loaded = suite.parse(text, "small.yaml")
        cells = suite.expand(loaded, "cpu").cells
        environment = Environment(fields=FIELDS | (fields or {}))
        results = [timed(c, seed=len(name), environment=environment.id) for c in cells]
        made: RunHeader = make_run([], cells=cells, run_id=name).header
        header = replace(
            made, suite_text=text, gate=loaded.gate, created_at="2026-11-20T00:00:00+00:00"
        )
        with store.Writer.create(Path("results"), header) as writer:
            writer.environment(environment)
            for result in change(results):
                writer.end(result)
            writer.finish("finished")
        return name

    return write


@pytest.fixture
def base(stored: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    """A baseline of a run of this suite, and its file."""
    monkeypatch.setattr("harness.cases.Asked.day", property(lambda _: date(2026, 11, 26)))
    stored("first")
    assert cli.main(["baseline", "update", "first", "--to", "b.jsonl"]) == 0
    return "b.jsonl"


def gate(*words: str) -> int:
    return cli.main(["gate", *words])


def only(results: list[Result], place: int, **changes: Any) -> list[Result]:
    """Change one result."""
    changed = timed(
        results[place].cell, **{"seed": 9, "environment": results[place].environment} | changes
    )
    return [*results[:place], changed, *results[place + 1 :]]


def test_the_same_code_passes_and_everything_is_written(
    stored: Store, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    Path("summary.md").write_text("before\n")
    words = ("--json", "g.json", "--junit", "g.xml", "--markdown", "g.md")
    assert gate(stored("again"), "--baseline", base, *words) == 0
    assert json.loads(Path("g.json").read_text())["verdict"] == "pass"
    assert "<testsuite" in Path("g.xml").read_text()
    assert Path("summary.md").read_text() == f"before\n{Path('g.md').read_text()}"
    first = Path("g.json").read_bytes()
    assert gate("again", "--baseline", base, *words) == 0
    assert Path("g.json").read_bytes() == first


CASES: dict[str, tuple[Callable[[list[Result]], list[Result]], int, str]] = {
    "slower": (lambda r: only(r, 3, ratio=1.3), 1, "regressed against b.jsonl"),
    "8 MiB more": (lambda r: only(r, 3, peak=72 << 20), 1, "peak_allocated: +12.5 %"),
    "deleted": (lambda r: r[:-1], 1, "was not measured"),
    "crashed": (lambda r: only(r, 0, outcome=Outcome.CRASHED, reason="SIGSEGV"), 1, "is crashed"),
    "empty": (lambda r: [], 4, "nothing of"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_worse_run_has_its_exit_code_and_its_sentence(
    stored: Store, base: str, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change, code, words = CASES[case]
    assert gate(stored("after", change), "--baseline", base) == code
    assert words in " ".join(capsys.readouterr().out.split())


def test_a_run_of_a_part_of_the_suite_has_not_measured_the_rest(
    stored: Store, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate(stored("part", lambda results: results[:4]), "--baseline", base) == 1
    assert "declares it" in " ".join(capsys.readouterr().out.split())


def test_another_machine_a_changed_suite_and_half_a_file_say_so(
    stored: Store, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = stored("other", fields={"cpu": "Another CPU"})
    assert gate(elsewhere, "--baseline", base) == 4
    assert "cannot be compared: other cpu" in " ".join(capsys.readouterr().out.split())
    shorter = stored("shorter", text=SUITE.replace(", 192]", "]"))
    assert gate(shorter, "--baseline", base) == 4
    assert "the suite is not that of b.jsonl: 2 cells gone" in " ".join(
        capsys.readouterr().out.split()
    )
    whole = Path(base).read_text()
    Path(base).write_text(whole[: len(whole) // 2])
    assert gate("first", "--baseline", base) == 2
    assert "error: b.jsonl" in capsys.readouterr().err
    assert gate("first", "--baseline", "none.jsonl") == 2
    assert "no such baseline" in capsys.readouterr().err


def test_what_cannot_be_told_fails_unless_the_user_says_otherwise(stored: Store, base: str) -> None:
    name = stored(
        "few",
        lambda results: [
            timed(r.cell, seed=9, launches=3, environment=r.environment) for r in results
        ],
    )
    assert gate(name, "--baseline", base) == 3
    assert gate(name, "--baseline", base, "--on-inconclusive", "pass") == 0


def test_a_new_norm_needs_to_pass_or_a_reason(
    stored: Store, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = stored("slow", lambda results: only(results, 2, ratio=1.4))
    assert cli.main(["baseline", "update", slow, "--to", base]) == 2
    assert "--accept REASON" in capsys.readouterr().err
    before = Path(base).read_text()
    assert cli.main(["baseline", "update", slow, "--to", base, "--accept", "exact now"]) == 0
    assert "exact now" in Path(base).read_text().splitlines()[0]
    assert Path(base).read_text() != before
    broken = stored("broken", lambda results: results[1:])
    assert cli.main(["baseline", "update", broken, "--to", base, "--accept", "x"]) == 2


def test_a_waiver_in_a_file_is_obeyed(stored: Store, base: str) -> None:
    slow = stored("slow", lambda results: only(results, 2, ratio=1.3))
    Path("w.yaml").write_text(
        "waivers:\n  - {cell: '*', metric: latency, reason: x, expires: 2026-12-31}\n"
    )
    assert gate(slow, "--baseline", base) == 1
    assert gate(slow, "--baseline", base, "--waivers", "w.yaml") == 0


def test_files_of_pytest_benchmark_are_judged_by_the_same_rule(
    stored: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    def files(name: str, ratio: float, count: int, keep: int = 10) -> list[str]:
        names: list[str] = []
        for number in range(count):
            key = f"{name}{number}"
            stored(
                key,
                lambda r, n=number: [
                    timed(
                        x.cell,
                        seed=ord(name) + n,
                        launches=1,
                        ratio=ratio,
                        environment=x.environment,
                    )
                    for x in r
                ][:keep],
            )
            out = f"{key}.json"
            assert cli.main(["export", key, "--to", "pytest-benchmark", "--output", out]) == 0
            names.append(out)
        return names

    base, same, slow = files("b", 1, 6), files("s", 1, 6), files("t", 1.3, 6)
    assert gate("--base-files", *base, "--candidate-files", *same) == 0
    assert gate("--base-files", *base, "--candidate-files", *slow) == 1
    assert gate("--base-files", *base, "--candidate-files", *files("m", 1, 6, keep=9)) == 1
    capsys.readouterr()
    assert gate("--base-files", base[0], "--candidate-files", same[0]) == 3
    assert "one process says nothing" in " ".join(capsys.readouterr().out.split())
    assert gate("--base-files", base[0]) == 2


def test_history_needs_runs_and_tells_a_step(
    stored: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    stored("r00")
    assert gate("--history", "results") == 4
    capsys.readouterr()


@pytest.mark.parametrize(
    "words",
    [(), ("x.yaml", "--base", "a", "--baseline", "b"), ("--base", "HEAD"), ("--baseline", "b")],
)
def test_bad_usage_is_two(stored: Store, words: tuple[str, ...]) -> None:
    try:
        code = gate(*words)
    except SystemExit as error:
        code = error.code
    assert code == 2
