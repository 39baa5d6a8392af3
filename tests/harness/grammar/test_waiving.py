"""Laws of the waivers' file: strict, all mistakes at once."""

from datetime import date
from pathlib import Path

import pytest

from harness.grammar import waiving
from harness.grammar.document import SuiteError

GOOD = """
waivers:
  - {cell: "reformer-*", metric: latency, ratio: 1.2, reason: exact causality, expires: 2027-01-31}
  - {cell: old, metric: outcome, reason: gone, expires: "2026-12-01", issue: "#12"}
"""


def test_waivers_are_read(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(GOOD)
    first, second = waiving.read(file)
    assert (first.ratio, first.expires, first.issue) == (1.2, date(2027, 1, 31), None)
    assert (second.metric, second.issue) == ("outcome", "#12")


def test_all_mistakes_are_told_with_their_places(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(
        "waivers:\n"
        "  - {cell: a, metric: latency, expires: soon, reason: x}\n"
        "  - {cell: a, metrik: latency, ratio: 0.5, reason: x, expires: 2027-01-01}\n"
    )
    with pytest.raises(SuiteError) as caught:
        waiving.read(file)
    told = "\n".join(caught.value.problems)
    assert "waivers[0].expires: expected a day such as 2026-12-31, got 'soon'" in told
    assert "waivers[1].metrik: unknown key, did you mean 'metric'?" in told
    assert "waivers[1].ratio" in told
