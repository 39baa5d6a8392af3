"""`new-variant` prints a file that keeps every law; `check` says what a broken file breaks."""

from collections import Counter
from pathlib import Path

import pytest

from harness import checking, cli, template

SOURCE = template.variant("fading")


def findings(folder: Path, source: str, name: str = "fading") -> list[checking.Finding]:
    file = folder / f"{name}.py"
    file.write_text(source, encoding="utf-8")
    return list(checking.check(file))


def test_the_file_that_is_printed_keeps_every_law(tmp_path: Path) -> None:
    outcomes = Counter(found.outcome for found in findings(tmp_path, SOURCE))
    assert set(outcomes) == {checking.HOLDS}
    assert outcomes[checking.HOLDS] > 50


def test_a_broken_mechanism_is_told_with_form_law_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = SOURCE.replace("allowed = place <= place[:, None] if self.causal else", "allowed =")
    source = source.replace("rows = []", "rows = [] if q.shape[0] != 3 else 1 / 0")
    file = tmp_path / "fading.py"
    file.write_text(source, encoding="utf-8")
    assert cli.main(["check", str(file)]) == cli.EXIT_FAULT
    told = " ".join(capsys.readouterr().out.split())
    law = "broken fading.eager, causal: takes nothing from later tokens: other tokens after 70"
    assert law in told
    line = source[: source.index("1 / 0")].count("\n") + 1
    assert f"{file}:{line}: ZeroDivisionError" in told.replace(" ", "").replace(
        "ZeroDivisionError", " ZeroDivisionError"
    )
    assert "mend the file before you measure it" in told


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1\nimport nothing_of_this_name\n", "fading.py:2: ModuleNotFoundError"),
        ("def f(:\n", "fading.py:1: SyntaxError"),
        ('"""No variant."""\n', "fading.py does not define VARIANT"),
        ('"""A number."""\nVARIANT = 3\n', "VARIANT is a int"),
        (SOURCE.replace('"reference"),', '"plain"),'), "one of them is 'reference'"),
    ],
)
def test_a_file_that_is_no_variant_is_one_finding(tmp_path: Path, source: str, words: str) -> None:
    *_, last = findings(tmp_path, source)
    assert last.outcome in checking.FAULTY
    assert words in last.detail


@pytest.mark.parametrize("name", ["Fading", "2d", "a-b", "class", "", "a.b"])
def test_a_name_that_is_none_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["new-variant", name]) == cli.EXIT_USAGE
    assert "names no variant" in capsys.readouterr().err


def test_a_file_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "nowhere.py"]) == cli.EXIT_USAGE
    assert "nowhere.py: no such file" in capsys.readouterr().err
