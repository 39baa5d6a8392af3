"""The page of a run: whole, silent, and of names it makes text."""

import re
from pathlib import Path

import pytest

from dashboard import bundle
from harness import cli


@pytest.mark.parametrize("scene", ["one cell", "all out of memory", "full", "torn shard"])
def test_every_scene_becomes_a_page(scenes: dict[str, Path], scene: str) -> None:
    (folder,) = (path for path in scenes[scene].glob("[!.]*") if path.is_dir())
    text = bundle.document(folder)
    assert text.startswith("<!DOCTYPE html>")
    assert "Plotly.newPlot" in text


def test_names_are_text_and_nothing_is_fetched(scenes: dict[str, Path]) -> None:
    text = bundle.document(scenes["much"] / "run-11")
    body = text.partition("</head>")[2]
    assert "<script>alert" not in body
    assert "href=" not in body
    assert "default-src 'none'" in text
    assert not re.search(r"<(script|link|img|iframe)[^>]*\b(src|href)=", text)
    for words in ("Time per step: numbers", "unbeaten in time and memory", "python -m harness run"):
        assert words in body


def test_the_verb_writes_the_page(
    scenes: dict[str, Path], tmp_path: Path, monkeypatch, capfd
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(bundle.__file__).parents[1]))
    target, root = tmp_path / "page.html", str(scenes["full"])
    words = ["export", "full", "--to", "html", "--out", root, "--output", str(target)]
    assert cli.main(words) == 0
    assert "18 of 42 cells have no number" in target.read_text()
    assert cli.main(["export", "fll", "--to", "html", "--out", root]) == 2
    assert "did you mean 'full'" in capfd.readouterr().err
